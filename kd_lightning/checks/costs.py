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
        steps: optimizer steps, 0 for a stage that is finished.
        step_seconds: of one.
        seconds: of all of them, and of the validations between; ``None`` where they were not tried.
        memory: peak, in bytes.
        disk: of what it writes, in bytes.
    """

    stage: str
    network: str
    parameters: int
    steps: int
    step_seconds: float
    seconds: float | None
    memory: int
    disk: int


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
