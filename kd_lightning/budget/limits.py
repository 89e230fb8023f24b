"""What a network may cost at most."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kd_lightning.reports.formats import count, magnitude, ratio


class Cost(NamedTuple):
    """What a student costs, under the names of the limits.

    Attributes:
        size_kb: float32 weights with the tables of the frontend, as ``network.safetensors`` holds them, in 1000 bytes.
        params: number of parameters.
        macs: multiply-accumulates of a clip of a keyword spotter, of a second of audio for other tasks.
        latency_ms: median time of one call on one thread of this machine; ``None`` where nobody asked.
        real_time_factor: seconds of computing for a second of audio; ``None`` where nobody asked.
    """

    size_kb: float
    params: int
    macs: float
    latency_ms: float | None = None
    real_time_factor: float | None = None


# Whether a limit needs a clock.
TIMED = ("latency_ms", "real_time_factor")

SHOWN: dict[str, Callable[[float], str]] = {
    "size_kb": lambda value: f"{value:,.1f}",
    "params": count,
    "macs": magnitude,
    "latency_ms": lambda value: f"{value:.3g}",
    "real_time_factor": ratio,
}

Budget = dict[str, float]


def read_budget(given: Any) -> Budget:
    """A budget as it was typed.

    Raises:
        ValueError: it is none, or a limit is unknown or not a positive number.
    """
    known = ", ".join(Cost._fields)
    if not isinstance(given, dict) or not given:
        raise ValueError(
            f"say what the student may cost: budget='{{size_kb: 100, macs: 5e6}}'; limits are {known}"
        )
    if unknown := [str(key) for key in given if key not in Cost._fields]:
        raise ValueError(f"budget: there is no {', '.join(unknown)}; limits are {known}")
    for key, limit in given.items():
        if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < math.inf:
            raise ValueError(f"budget.{key}={limit}: a limit is a positive number")
    return {str(key): float(limit) for key, limit in given.items()}


def exceeded(cost: Cost, budget: Budget) -> list[str]:
    """What of a cost is over the budget, such as ``macs 8.05 M > 5 M``; empty where it fits."""
    return [
        f"{key} {SHOWN[key](value)} > {SHOWN[key](limit)}"
        for key, limit in budget.items()
        if (value := getattr(cost, key)) is not None and value > limit
    ]


def nearest(costs: Sequence[tuple[str, Cost]], budget: Budget) -> list[str]:
    """For each limit who comes nearest to it among those within all others, or if nobody is, among all.

    Args:
        costs: of candidates by name; none of them is within the budget.
        budget: their limits.
    """
    lines = []
    for key, limit in budget.items():
        others = {other: bound for other, bound in budget.items() if other != key}
        known = [(name, value, cost) for name, cost in costs if (value := getattr(cost, key)) is not None]
        within = [each for each in known if not exceeded(each[2], others)]
        if known:
            name, value, cost = min(within or known, key=lambda each: each[1])
            beside = "; ".join(exceeded(cost, others))
            lines.append(
                f"{key}={SHOWN[key](limit)}: nearest is {name} with {SHOWN[key](value)}"
                + (f" ({beside})" if beside else "")
            )
    return lines


def is_smaller(cost: Cost, other: Cost) -> bool:
    """Whether a network has no more parameters and multiply-accumulates than another, and fewer of one of them."""
    pairs = (cost.params, other.params), (cost.macs, other.macs)
    return all(own <= its for own, its in pairs) and any(own < its for own, its in pairs)
