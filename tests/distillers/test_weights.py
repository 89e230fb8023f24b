"""Schedules of term weights against their closed forms."""

import math

import pytest

from kd_lightning.distillers.weights import Constant, Cosine, Linear, WarmUp


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        (Constant(0.7), {0.0: 0.7, 0.5: 0.7, 1.0: 0.7}),
        (Linear(1.0, 0.2), {0.0: 1.0, 0.25: 0.8, 1.0: 0.2}),
        (Cosine(1.0, 0.0), {0.0: 1.0, 0.25: (1 + math.sqrt(0.5)) / 2, 0.5: 0.5, 1.0: 0.0}),
        (WarmUp(2.0, share=0.5), {0.0: 0.0, 0.25: 1.0, 0.5: 2.0, 1.0: 2.0}),
    ],
)
def test_a_schedule_takes_these_values(schedule, values):
    for progress, value in values.items():
        assert schedule(progress) == pytest.approx(value)
