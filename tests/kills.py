"""Cutting a run at any place, in this process, and comparing what is left with what an uncut run leaves."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kd_lightning.callbacks import checkpoints
from kd_lightning.callbacks.curves import Curves
from kd_lightning.callbacks.step_seed import StepSeed

DROPOUT = "student.network.dropout=0.3"
HOOKS = [
    name
    for name in dir(StepSeed)
    if name.startswith("on_") and not name.endswith(("checkpoint", "exception"))
]


class Killed(BaseException):
    """What no handler of the run may swallow."""


class Points:
    """The places that a run passes: Lightning's hooks, checkpoints half written, lines half written, renames.

    Args:
        patch: undoes what is done to the code.
        folder: the run's folder.
        cut: the name of a place and which passing of it is the last thing that the process does; ``None`` to count.

    Attributes:
        passed: how often the run passed each place.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, cut: tuple[str, int] | None = None) -> None:
        self.passed: Counter[str] = Counter()
        self.folder, self.cut = folder, cut
        for hook in HOOKS:
            self._stop_in(patch, hook)
        self._stop_while_saving(patch)
        self._stop_while_logging(patch)
        self._stop_at_renames(patch)

    def is_last(self, name: str) -> bool:
        """Count a passing of a place; whether to die there."""
        self.passed[name] += 1
        return (name, self.passed[name]) == self.cut

    def at(self, name: str) -> None:
        if self.is_last(name):
            raise Killed

    def _stop_in(self, patch: pytest.MonkeyPatch, hook: str) -> None:
        own = getattr(StepSeed, hook)

        def dying(callback: StepSeed, *arguments: Any) -> None:
            self.at(hook)
            own(callback, *arguments)

        patch.setattr(StepSeed, hook, dying)

    def _stop_while_saving(self, patch: pytest.MonkeyPatch) -> None:
        own = checkpoints.write

        def dying(trainer: Any, path: Path) -> None:
            if self.is_last(f"half of {path.name}"):
                path.with_name(f".{path.name}.part").write_bytes(b"half a checkpoint")
                raise Killed
            own(trainer, path)

        patch.setattr(checkpoints, "write", dying)

    def _stop_while_logging(self, patch: pytest.MonkeyPatch) -> None:
        own = Curves.log_metrics

        def dying(curves: Curves, metrics: dict[str, float], step: int | None = None) -> None:
            before = curves.path.stat().st_size if curves.path.exists() else 0
            own(curves, metrics, step)
            after = curves.path.stat().st_size
            if after > before and self.is_last("half a line of curves.csv"):
                os.truncate(curves.path, after - 9)
                raise Killed

        patch.setattr(Curves, "log_metrics", dying)

    def _stop_at_renames(self, patch: pytest.MonkeyPatch) -> None:
        own = Path.replace

        def dying(beside: Path, path: Path) -> Path:
            if self.folder not in path.parents:
                return own(beside, path)
            self.at(f"before {path.name}")
            renamed = own(beside, path)
            self.at(f"after {path.name}")
            return renamed

        patch.setattr(Path, "replace", dying)


def results(folder: Path) -> tuple[bytes, bytes, str]:
    """What a stage leaves: weights, predictions, learning curves."""
    return (
        (folder / "network.safetensors").read_bytes(),
        (folder / "predictions.jsonl").read_bytes(),
        (folder / "curves.csv").read_text(),
    )
