"""Checkpoints from which a killed run goes on, bit for bit, and the one that validation likes best.

Where a run can be cut decides what can be repeated. ``last.ckpt`` is written between two batches, but not after the
last batch of an epoch (validation and the end of the epoch would be lost), and once more when the epoch has ended.
What happened after the last save is trained again and gives the same weights, so ``best.ckpt`` is written over with
itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

from kd_lightning.files import whole
from kd_lightning.metrics.scores import is_better


def write(trainer: pl.Trainer, path: Path) -> None:
    """Write a whole checkpoint or none: a kill or a full disk leaves the old one.

    Raises:
        OSError: the checkpoint could not be written; names the file.
    """
    if not trainer.is_global_zero:
        trainer.save_checkpoint(path, weights_only=False)  # rank 0 writes, all ranks take part
        return
    with whole(path) as beside:
        trainer.save_checkpoint(beside, weights_only=False)


class LastCheckpoint(Checkpoint):
    """Keeps ``last.ckpt``, from which the run resumes.

    Args:
        folder: folder of the checkpoints.
        every_steps: optimizer steps between two saves inside an epoch.
    """

    def __init__(self, folder: str, every_steps: int) -> None:
        self.path = Path(folder) / "last.ckpt"
        self.every_steps = every_steps

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step % self.every_steps == 0 and not trainer.is_last_batch:
            write(trainer, self.path)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        write(trainer, self.path)


class BestCheckpoint(Checkpoint):
    """Keeps ``best.ckpt``, the weights of the best ``monitor``.

    The full validation before the first step counts too: a stage that starts from trained weights cannot end with
    worse.

    Args:
        folder: folder of the checkpoints.
        monitor: key of a validation metric; of error rates the lowest is best, of others the highest.
    """

    def __init__(self, folder: str, monitor: str) -> None:
        self.path = Path(folder) / "best.ckpt"
        self.monitor = monitor
        self.score: float | None = None
        self.step = 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.monitor not in trainer.callback_metrics:
            raise ValueError(
                f"monitor={self.monitor} is not validated; there are {sorted(trainer.callback_metrics)}"
            )
        score = float(trainer.callback_metrics[self.monitor])
        if self.score is None or is_better(self.monitor, score, self.score):
            self.score, self.step = score, trainer.global_step
            write(trainer, self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"score": self.score, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.score, self.step = state_dict["score"], state_dict["step"]
