"""Cuts that belong together: quarters of the test set by length, and means over any such groups."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_lightning.reports.aligned import Aligned
from kd_lightning.reports.task import last_student


def quarters(aligned: Aligned) -> tuple[list[str], NDArray[np.object_]]:
    """The quarters of the test set by length, of cuts of one length in one quarter.

    In tenths of a second; in words where some cut's seconds are unknown.

    Returns:
        Their names, the shortest first, and the name of each cut's, (N,).
    """
    values, unit, step = np.round(aligned.seconds, 1), "s", 0.1
    if not np.isfinite(values).all():
        values, unit, step = np.array([float(len(said.split())) for said in aligned.references]), "words", 1.0
    edges = np.unique(np.quantile(values, (0.25, 0.5, 0.75), method="inverted_cdf"))
    names = [
        f"up to {edges[0]:.3g} {unit}",
        *(f"{_range(below + step, edge)} {unit}" for below, edge in pairwise(edges)),
        f"over {edges[-1]:.3g} {unit}",
    ]
    return names, np.array(names, dtype=object)[np.searchsorted(edges, values)]


def lost_pair(stages: Iterable[str]) -> tuple[str, str] | None:
    """The last student and the teacher, whose difference says what was lost; ``None`` where one is missing."""
    there = dict.fromkeys(stages)
    student = last_student(there)
    return (student, "teacher") if student and "teacher" in there else None


def means(
    names: NDArray[np.object_], values: Mapping[str, NDArray[np.float64]], key: str
) -> dict[str, dict[str, Any]]:
    """How many cuts each group has, and means over those of its cuts that have a value.

    Args:
        names: (N,) of each cut's group.
        values: (N,) by stage, NaN unknown.
        key: under which the means are returned, by stage; NaN where no cut has a value.
    """
    groups, place = np.unique(names, return_inverse=True)
    found = {}
    for stage, measured in values.items():
        known = np.isfinite(measured)
        total = np.bincount(place[known], weights=measured[known], minlength=len(groups))
        counted = np.bincount(place[known], minlength=len(groups))
        found[stage] = np.where(counted > 0, total / np.maximum(counted, 1), np.nan)
    return {
        str(name): {
            "cuts": int(cuts),
            key: {stage: float(mean[row]) for stage, mean in found.items()},
        }
        for row, (name, cuts) in enumerate(zip(groups, np.bincount(place), strict=True))
    }


def _range(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}" if high - low > 1e-6 else f"{high:.3g}"
