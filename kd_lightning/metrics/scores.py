"""Which way a metric is good, and the intervals of a test from the lines of ``predictions.jsonl``."""

from collections.abc import Sequence
from typing import Any

from kd_lightning.metrics.intervals import interval
from kd_lightning.metrics.word_errors import character_edits, rate_interval, word_edits

# The lower the better; every other metric is the better the higher it is.
LOWER_IS_BETTER = (
    "wer", "cer", "error", "perplexity",
    "mcd", "f0_rmse", "voicing_error", "duration_error", "stft_distance", "skipped", "repeated", "round_trip_cer",
)  # fmt: skip
# With fewer speakers than these, resampling speakers says little, and utterances are resampled.
FEWEST_SPEAKERS = 5


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


def mean_intervals(predictions: Sequence[dict[str, Any]]) -> dict[str, list[float]]:
    """95 % intervals of the means of the metrics of utterances.

    They are clustered by speaker where there are at least five; a voice or two are what was synthesised, not a sample.

    Args:
        predictions: lines with ``metrics``, a dict of those that were measured, and ``speaker``.

    Returns:
        lower and upper end by key, over the lines that have it.
    """
    keys = list(dict.fromkeys(key for line in predictions for key in line["metrics"]))
    found = {}
    for key in keys:
        measured = [line for line in predictions if key in line["metrics"]]
        speakers = [line["speaker"] for line in measured]
        if len(set(speakers)) < FEWEST_SPEAKERS:
            speakers = [str(number) for number in range(len(measured))]
        found[key] = list(interval([line["metrics"][key] for line in measured], speakers))
    return found
