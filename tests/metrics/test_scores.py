"""Which way metrics are good, and intervals of means."""

import numpy as np
import pytest

from kd_lightning.metrics.intervals import interval
from kd_lightning.metrics.scores import is_better, mean_intervals


@pytest.mark.parametrize(
    "key", ["mcd", "validation/mcd", "f0_rmse", "voicing_error", "duration_error", "stft_distance"]
)
def test_errors_of_synthesis_are_the_better_the_lower(key: str) -> None:
    assert is_better(key, 4.0, 5.0)
    assert not is_better(key, 5.0, 4.0)


@pytest.mark.parametrize("key", ["stoi", "pesq", "focus_rate"])
def test_what_listeners_like_is_the_better_the_higher(key: str) -> None:
    assert is_better(key, 0.9, 0.8)


def lines(speakers: int, each: int) -> list[dict]:
    rng = np.random.default_rng(0)
    effect = rng.normal(0, 1, speakers)
    return [
        {"speaker": f"voice{voice}", "metrics": {"mcd": 5 + effect[voice] + rng.normal(0, 0.1)}}
        for voice in range(speakers)
        for _ in range(each)
    ]


def test_five_voices_are_a_sample_of_voices() -> None:
    predictions = lines(5, 20)
    values, speakers = (
        [line["metrics"]["mcd"] for line in predictions],
        [line["speaker"] for line in predictions],
    )
    assert mean_intervals(predictions) == {"mcd": list(interval(values, speakers))}


def test_fewer_voices_are_what_was_synthesised_and_utterances_are_the_sample() -> None:
    predictions = lines(4, 25)
    low, high = mean_intervals(predictions)["mcd"]
    values = np.array([line["metrics"]["mcd"] for line in predictions])
    # Student's t for 99 degrees of freedom.
    half = 1.984 * values.std(ddof=1) / 10
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_each_metric_is_counted_where_it_was_measured() -> None:
    predictions = lines(1, 40)
    for line in predictions[:10]:
        line["metrics"]["f0_rmse"] = 20.0
    found = mean_intervals(predictions)
    assert list(found) == ["mcd", "f0_rmse"]
    assert found["f0_rmse"] == [20.0, 20.0]
    assert mean_intervals([]) == {}
