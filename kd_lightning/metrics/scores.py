"""Which way a metric is good, and the intervals of a test from the lines of ``predictions.jsonl``."""

from collections.abc import Sequence
from typing import Any

from kd_lightning.metrics.intervals import interval
from kd_lightning.metrics.word_errors import character_edits, rate_interval, word_edits

# The lower the better; every other metric is the better the higher it is.
LOWER_IS_BETTER = ("wer", "cer", "error", "perplexity")


def is_better(key: str, score: float, other: float) -> bool:
    """Whether a score of a metric beats another.

    Args:
        key: of the metric, with or without what it was measured on: "validation/wer".
        score: to compare.
        other: to compare it with.
    """
    return score < other if key.rpartition("/")[2] in LOWER_IS_BETTER else score > other


def accuracy_interval(predictions: Sequence[dict[str, Any]]) -> list[float]:
    """95 % interval of the share of cuts whose output equals the reference, clustered by speaker.

    Args:
        predictions: lines with ``reference``, ``output`` and ``speaker``.

    Returns:
        its lower and upper end.
    """
    correct = [line["reference"] == line["output"] for line in predictions]
    return list(interval(correct, [line["speaker"] for line in predictions]))


def error_rate_intervals(predictions: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """95 % intervals of word and character error rate, clustered by speaker.

    Args:
        predictions: lines with ``reference`` and ``output`` in the scoring form, and ``speaker``.

    Returns:
        lower and upper end by key, "wer" and "cer".
    """
    speakers = [line["speaker"] for line in predictions]
    texts = [line["reference"] for line in predictions], [line["output"] for line in predictions]
    found = {
        "wer": rate_interval(word_edits(*texts), speakers),
        "cer": rate_interval(character_edits(*texts), speakers),
    }
    return {key: [estimate.low, estimate.high] for key, estimate in found.items()}
