"""Stop at the first loss that is not a number, and say which cuts made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from kd_lightning.files import write


class NonFiniteGuard(pl.Callback):
    """Checks the loss before the backward pass, so a bad batch does not reach the weights.

    Args:
        folder: the run's folder, where ``non_finite_rank<r>.json`` is written.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.cuts: list[str] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.cuts = batch.ids

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        if torch.isfinite(loss):
            return
        path = self.folder / f"non_finite_rank{trainer.global_rank}.json"
        write(path, json.dumps({"step": trainer.global_step, "cuts": self.cuts}, indent=2) + "\n")
        raise FloatingPointError(
            f"the loss is not finite at step {trainer.global_step}: the batch's cuts are in {path}; "
            "lower optimizer.lr or the weight of the term that grew (curves.csv shows them), or look at those cuts"
        )
