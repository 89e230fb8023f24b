"""End a stage when a metric reaches a preset value."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from kd_lightning.metrics.scores import is_better


class StopAt(pl.Callback):
    """Stops training once ``metric`` is as good as ``value``; a resumed run remembers that it had stopped.

    Args:
        metric: key of a validation metric; error rates have to fall to ``value``, others to rise to it.
        value: the quality that is enough.
    """

    def __init__(self, metric: str, value: float) -> None:
        self.metric = metric
        self.value = value
        self.reached = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.metric not in trainer.callback_metrics:
            known = sorted(trainer.callback_metrics)
            raise ValueError(f"stop_at.metric {self.metric!r} is not validated here; there are {known}")
        score = float(trainer.callback_metrics[self.metric])
        if not trainer.sanity_checking and not is_better(self.metric, self.value, score):
            self.reached = trainer.should_stop = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.reached:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        return {"reached": self.reached}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.reached = state_dict["reached"]
