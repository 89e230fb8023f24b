"""Randomness of a step as a function of (seed, step, rank)."""

import hashlib
from typing import Any

import pytorch_lightning as pl
import torch


class StepSeed(pl.Callback):
    """Reseeds torch before each step, so that dropout after a resume is that of the run which was never stopped.

    Args:
        seed: the run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        place = f"{self.seed}/{trainer.global_step}/{trainer.global_rank}"
        seed = int.from_bytes(hashlib.blake2b(place.encode(), digest_size=8).digest(), "big")
        # torch.manual_seed formats a stack trace for each device that is not there: half a millisecond a step.
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(seed)
