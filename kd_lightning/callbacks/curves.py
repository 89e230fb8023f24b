"""Learning curves as a file that only grows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only


class Curves(Logger):
    """Appends ``step,key,value`` lines to ``curves.csv``.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "curves.csv"

    @property
    def name(self) -> str:
        return "curves"

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The run's config.json has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        new = not self.path.exists()
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(("step", "key", "value"))
            writer.writerows((step, key, float(value)) for key, value in metrics.items() if key != "epoch")


class CutCurves(Callback):
    """When a run starts or goes on, cuts the curves back to the step that it starts from.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: str) -> None:
        self.path = Path(folder) / "curves.csv"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or not self.path.exists():
            return
        with self.path.open(newline="") as file:
            header, *lines = list(csv.reader(file)) or [["step", "key", "value"]]
        # A kill may leave half a line at the end.
        kept = [line for line in lines if len(line) == 3 and int(line[0]) <= trainer.global_step]
        beside = self.path.with_name(".curves.csv.part")
        with beside.open("w", newline="") as file:
            csv.writer(file).writerows([header, *kept])
        beside.replace(self.path)
