"""The interval of an accuracy, from the lines of ``predictions.jsonl``."""

from collections.abc import Sequence
from typing import Any

from kd_lightning.metrics.intervals import interval


def accuracy_interval(predictions: Sequence[dict[str, Any]]) -> list[float]:
    """95 % interval of the share of cuts whose output equals the reference, clustered by speaker.

    Args:
        predictions: lines with ``reference``, ``output`` and ``speaker``.

    Returns:
        its lower and upper end.
    """
    correct = [line["reference"] == line["output"] for line in predictions]
    return list(interval(correct, [line["speaker"] for line in predictions]))
