"""What is said of a prediction."""

import pytest

from kd_lightning.checks.payoff import errors_table, sentences
from kd_lightning.checks.prediction import Prediction
from kd_lightning.metrics.intervals import Estimate
from kd_lightning.reports.formats import SHARE


def said(gain, share=1.0):
    prediction = Prediction(Estimate(0.22, 0.21, 0.23), Estimate(0.15, 0.13, 0.17), Estimate(*gain), 0.89)
    return " ".join(sentences(prediction, 0.1, 0.07, SHARE, share))


def test_a_gain_is_said_in_points_with_its_interval():
    text = said((0.066, 0.042, 0.089))
    assert "from labels on 0.89: its error is predicted to go from 22.0 to 15.0 [13.0, 17.0] %" in text
    assert "+6.6 [+4.2, +8.9] points (95 %): a teacher pays." in text


@pytest.mark.parametrize(("share", "verdict"), [(1.0, "does not pay"), (0.25, "may or may not pay")])
def test_short_students_do_not_say_that_nothing_is_to_be_gained(share, verdict):
    assert f"a teacher {verdict}" in said((0.0, -0.02, 0.01), share)


def test_the_table_has_the_mean_and_the_deviation_of_seeds():
    table = errors_table({1.0: [0.1, 0.2], 0.1: [0.3, 0.3]}, SHARE)
    assert table.rows == [["0.1", "2", "30.0", "0.0"], ["1", "2", "15.0", "7.1"]]
