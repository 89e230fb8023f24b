"""What a teacher is predicted to be worth, where that is known."""

import numpy as np
import pytest

from kd_lightning.checks.learning_curve import Curves
from kd_lightning.checks.prediction import (
    KEYWORD_RECIPES,
    Prediction,
    Verdict,
    effective_fraction,
    predict,
    recipes_of,
)
from kd_lightning.metrics.intervals import Estimate


def curves(floor, slope, exponent, draws=20000):
    return Curves(np.full(draws, floor), np.full(draws, slope), np.full(draws, exponent), 0.01)


def test_a_teacher_that_is_never_wrong_labels_everything():
    assert effective_fraction(0.1, 0.0) == pytest.approx(1.0)


def test_a_teacher_that_is_always_wrong_labels_nothing():
    assert effective_fraction(0.1, 1.0) == pytest.approx(0.1)
    assert effective_fraction(0.1, 1.3) == pytest.approx(0.1)  # a word error rate


def test_with_all_labels_no_teacher_adds_any():
    assert effective_fraction(1.0, 0.2) == pytest.approx(1.0)


def test_the_worth_of_labels_falls_as_the_square_of_what_is_right():
    assert effective_fraction(0.5, 0.1) == pytest.approx(0.5 + 0.5 * 0.81)


def test_a_perfect_teacher_takes_the_student_down_its_curve():
    found = predict(curves(0.1, 0.03, 0.5), 0.09, 0.0, 0.0)
    assert found.baseline.value == pytest.approx(0.1 + 0.03 / 0.3)
    assert found.distilled.value == pytest.approx(0.13 * (1 + KEYWORD_RECIPES[0]), rel=0.005)
    # The spread is that of recipes: nothing else is unknown here.
    assert found.distilled.high - found.distilled.low == pytest.approx(
        2 * 1.96 * 0.13 * KEYWORD_RECIPES[1], rel=0.05
    )
    assert found.verdict is Verdict.PAYS


def test_a_student_is_not_predicted_to_be_better_than_its_teacher():
    found = predict(curves(0.1, 0.03, 0.5), 0.09, 0.18, 0.0)
    assert found.distilled.low == found.distilled.high == 0.18


def test_where_all_labels_are_seen_a_teacher_does_not_pay():
    assert predict(curves(0.1, 0.03, 0.5), 1.0, 0.05, 0.05).verdict is Verdict.DOES_NOT_PAY


@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        ((0.05, 0.01, 0.09), Verdict.PAYS),
        ((0.02, -0.01, 0.05), Verdict.CANNOT_TELL),
        ((0.00, -0.02, 0.019), Verdict.DOES_NOT_PAY),
        ((-0.05, -0.09, -0.01), Verdict.DOES_NOT_PAY),
    ],
)
def test_a_verdict_is_that_of_the_interval(gain, verdict):
    sure = Estimate(0.2, 0.2, 0.2)
    assert Prediction(sure, sure, Estimate(*gain), 1.0).verdict is verdict


def test_where_recipes_differ_more_less_is_known():
    found = [
        predict(curves(0.1, 0.03, 0.5), 0.09, 0.05, 0.05, recipes_of(task)).gain
        for task in ("keyword", "recognition")
    ]
    assert found[1].high - found[1].low > 2 * (found[0].high - found[0].low)
