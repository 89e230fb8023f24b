"""Learning curves as a file that only grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from kd_lightning.files import write

HEADER = "step,key,value"


class Curves(Logger):
    """Appends ``step,key,value`` lines of training and validation to ``curves.csv``; tests are in ``metrics.json``.

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
        lines = [] if self.path.exists() else [HEADER]
        lines += [f"{step},{key},{float(value)}" for key, value in metrics.items() if "/" in key]
        with self.path.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)


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
        lines = self.path.read_text(errors="replace").splitlines()
        kept = [line for line in lines[1:] if _step(line) <= trainer.global_step]
        write(self.path, "".join(f"{line}\n" for line in (HEADER, *kept)))


def _step(line: str) -> float:
    """Steps done before a line was written; a kill may leave a torn one at the end, which belongs to no step."""
    step, *rest = line.split(",")
    if not step.isdigit() or len(rest) != 2:
        return float("inf")
    # Lightning validates before it counts the step that came last.
    return int(step) + rest[0].startswith("validation/")
