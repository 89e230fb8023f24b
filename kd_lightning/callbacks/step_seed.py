"""Randomness of a step as a function of (seed, step, rank)."""

from __future__ import annotations

from typing import Any

import numpy as np
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
        words = np.random.SeedSequence((self.seed, trainer.global_step, trainer.global_rank)).generate_state(
            2
        )
        torch.manual_seed(int(words[0]) << 32 | int(words[1]))
