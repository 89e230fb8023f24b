"""What the terms on hidden layers compare: which modules, of which shapes, through which projector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from kd_lightning.checks.finding import Finding, ok
from kd_lightning.distillers.distiller import Distiller
from kd_lightning.metrics.efficiency import parameters


def hint_shapes(distiller: Distiller, step: Any) -> Iterator[Finding]:
    """A line for each pair of layers.

    Args:
        distiller: whose terms are sized.
        step: of a dry step.
    """
    for key, term in distiller.terms.items():
        said = distiller.part(step, term)  # type: ignore[arg-type]
        pairs = zip(term.student_paths, term.teacher_paths, strict=False)  # type: ignore[arg-type]
        projector = getattr(term, "projector", None)
        through = f", through {parameters(projector):,} weights of a projector" if projector else ""
        for ours, theirs in pairs:
            yield ok(
                "hint",
                f"{key}: {ours} {_shape(said.student_taps[ours])} learns {theirs} "
                f"{_shape(said.teacher_taps[theirs])}{through}",
            )


def _shape(tapped: Tensor) -> str:
    return " x ".join(map(str, tapped.shape))
