"""What a stage will take: time, memory, room on the disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kd_lightning.checks.finding import Finding, ok, warning, wrong


class Costs(NamedTuple):
    """An estimate, from a few real steps.

    Attributes:
        stage: its name.
        network: what it trains.
        parameters: their number.
        epochs: yet to train, 0 for a stage that is finished.
        epoch_steps: optimizer steps in one.
        step_seconds: of a step.
        validation_seconds: of a validation, one of which is before the first epoch.
        memory: peak, in bytes.
        disk: of what it has yet to write, in bytes.
    """

    stage: str
    network: str
    parameters: int
    epochs: int
    epoch_steps: int
    step_seconds: float
    validation_seconds: float
    memory: int
    disk: int

    def seconds(self, epochs: int | None = None) -> float:
        """Of so many epochs with their validations; of those that are yet to train by default."""
        epochs = self.epochs if epochs is None else epochs
        return (
            epochs * self.epoch_steps * self.step_seconds
            + bool(epochs) * (epochs + 1) * self.validation_seconds
        )


def of_disk(costs: Sequence[Costs], folder: Path) -> Iterator[Finding]:
    """Whether the stages will find room.

    Args:
        costs: of the stages.
        folder: where the runs go; it need not be there yet.
    """
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free, asked = shutil.disk_usage(there).free, sum(each.disk for each in costs)
    said = f"{in_bytes(asked)} of {in_bytes(free)} that are free in {there}"
    if asked > free:
        yield wrong("disk", f"{said}: set paths.runs to a folder on another disk")
    elif 2 * asked > free:
        yield warning("disk", f"{said}: another run may not fit")
    else:
        yield ok("disk", said)


def in_bytes(count: float) -> str:
    """Bytes for people: 12 kB, 3.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def in_time(seconds: float) -> str:
    """A stretch of time for people: 12 s, 3 min, 1.4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
