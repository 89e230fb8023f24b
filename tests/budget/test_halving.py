"""Successive halving: no round costs much more than the last one."""

import pytest

from kd_lightning.budget.halving import HANDFUL, rounds


def test_a_handful_runs_once():
    for students in range(1, HANDFUL + 1):
        assert rounds(students, 5) == [(students, 5)]


def test_rounds_halve_the_students_and_double_the_epochs():
    assert rounds(12, 8) == [(12, 2), (6, 4), (3, 8)]
    assert rounds(9, 5) == [(9, 1), (5, 2), (3, 5)]


def test_no_round_is_shorter_than_an_epoch():
    assert rounds(30, 2) == [(30, 1), (15, 1), (8, 1), (4, 2)]


@pytest.mark.parametrize("students", [5, 8, 17, 64])
def test_a_round_costs_no_more_than_a_handful_at_full_length(students):
    # Rounding up may add one student to a round.
    assert all(count * epochs <= (HANDFUL + 1) * 64 for count, epochs in rounds(students, 64))
