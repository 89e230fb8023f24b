"""The Pareto front: what nothing else beats at its cost or below."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# What a network costs: its name by the key under which a row's ``front`` has it.
COSTS = {"size_bytes": "size", "macs": "MACs", "latency": "latency"}


def pareto_front(costs: ArrayLike, values: ArrayLike, lower_is_better: bool = False) -> NDArray[np.bool_]:
    """Which of N candidates no other one dominates.

    One dominates another when it costs no more and is no worse, and is better in one of the two. Equals do not dominate
    one another.

    Args:
        costs: (N,) bytes, milliseconds, multiply-accumulates; NaN unknown.
        values: (N,) of the metric; NaN unknown.
        lower_is_better: of the metric.

    Returns:
        (N,), False where the cost or the value is unknown.
    """
    cost = np.asarray(costs, dtype=np.float64)
    loss = np.asarray(values, dtype=np.float64) * (1.0 if lower_is_better else -1.0)
    known = np.isfinite(cost) & np.isfinite(loss)
    on_front = np.zeros(len(cost), dtype=bool)
    least = np.inf
    # From the cheapest on, the better first: what is on the front improves on everything before it.
    for place in np.lexsort((loss, cost)):
        if not known[place]:
            continue
        equal = on_front & (cost == cost[place]) & (loss == loss[place])
        on_front[place] = loss[place] < least or bool(equal.any())
        least = min(least, loss[place])
    return on_front


def add_fronts(rows: Sequence[dict[str, Any]], metric: str, lower_is_better: bool) -> None:
    """Say of each setting of a sweep, under ``front``, on whose front it lies.

    Args:
        rows: the settings; a cost that all of them share has no front.
        metric: key of the metric.
        lower_is_better: of the metric.
    """
    values = _known([row["metrics"].get(metric) for row in rows])
    for row in rows:
        row["front"] = []
    for cost in COSTS:
        costs = [cost_of(row, cost) for row in rows]
        if len({one for one in costs if one is not None}) > 1:
            for row, best in zip(rows, pareto_front(_known(costs), values, lower_is_better), strict=True):
                row["front"] += [cost] if best else []


def cost_of(row: dict[str, Any], cost: str) -> float | None:
    """What a setting's network costs, by a key of ``COSTS``: bytes, multiply-accumulates, median ms."""
    found: float | None = row["latency_ms"]["p50"] if cost == "latency" else row[cost]
    return found


def _known(values: Sequence[float | None]) -> list[float]:
    return [np.nan if value is None else value for value in values]
