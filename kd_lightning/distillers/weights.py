"""Weights of loss terms that follow the progress of a stage.

A schedule is a function of progress alone, so a resumed run has the weights of the run that was never stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Schedule(Protocol):
    """Maps progress in [0, 1] (optimizer steps done over steps planned) to the weight of a term."""

    def __call__(self, progress: float) -> float: ...


@dataclass(frozen=True)
class Constant:
    """The same weight throughout; what a plain number in the config means."""

    value: float

    def __call__(self, progress: float) -> float:
        return self.value


@dataclass(frozen=True)
class Linear:
    """From ``start`` to ``end`` along a straight line."""

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        return self.start + (self.end - self.start) * progress


@dataclass(frozen=True)
class Cosine:
    """From ``start`` to ``end`` along half a cosine: slow, fast, slow."""

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        return self.end + (self.start - self.end) * 0.5 * (1.0 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class WarmUp:
    """From 0 to ``value`` over the first ``share`` of the stage, constant from there."""

    value: float
    share: float = 0.1

    def __call__(self, progress: float) -> float:
        return self.value * min(1.0, progress / self.share)
