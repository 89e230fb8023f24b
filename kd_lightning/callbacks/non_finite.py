"""Stop before what is not a number reaches the weights, and say which cuts made it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from kd_lightning.files import write


class NonFiniteGuard(pl.Callback):
    """Checks loss and gradients before each step, and the weights before they are saved.

    A loss may be finite and its gradient not (the square root of 0). Under a gradient scaler (16-bit floats) gradients
    that overflow are its own business: it leaves out the step.

    Args:
        folder: the run's folder, where ``non_finite_rank<r>.json`` is written.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.cuts: list[str] = []
        self.loss = torch.zeros(())

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.cuts = batch.ids

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor) -> None:
        self.loss = loss.detach()

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        checked = [self.loss]
        if trainer.scaler is None:
            checked += [
                parameter.grad
                for group in optimizer.param_groups
                for parameter in group["params"]
                if parameter.grad is not None
            ]
        # The norm is one number to wait for. Its squares may overflow where no gradient has: then look at each.
        if torch.isfinite(get_total_norm(checked)) or all(torch.isfinite(each).all() for each in checked):
            return
        what = "the gradient" if torch.isfinite(self.loss) else "the loss"
        path = self.folder / f"non_finite_rank{trainer.global_rank}.json"
        write(path, json.dumps({"step": trainer.global_step, "cuts": self.cuts}, indent=2) + "\n")
        raise FloatingPointError(
            f"{what} is not finite at step {trainer.global_step}: the batch's cuts are in {path}; "
            "lower optimizer.lr or the weight of the term that grew (curves.csv shows them), or look at those cuts"
        )

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        for name, parameter in pl_module.named_parameters():
            if parameter.requires_grad and not torch.isfinite(parameter).all():
                raise FloatingPointError(
                    f"{name} is not finite after step {trainer.global_step}, so no checkpoint was written: "
                    "lower optimizer.lr"
                )
