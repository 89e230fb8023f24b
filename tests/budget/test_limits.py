"""A budget, what is over it, and who comes nearest."""

import pytest

from kd_lightning.budget.limits import Cost, exceeded, is_smaller, nearest, read_budget

SMALL, QUICK, LARGE = Cost(40.0, 9_000, 9e6), Cost(300.0, 70_000, 2e6), Cost(900.0, 220_000, 2e7)
COSTS = [("small", SMALL), ("quick", QUICK), ("large", LARGE)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "say what the student may cost"),
        ({}, "say what the student may cost"),
        (100, "say what the student may cost"),
        (
            {"size": 3, "macs": 5e6, "ms": 1},
            "there is no size, ms; limits are size_kb, params, macs, latency_ms, real_time_factor",
        ),
        ({"macs": 0}, "budget.macs=0: a limit is a positive number"),
        ({"macs": -5}, "budget.macs=-5"),
        ({"macs": True}, "budget.macs=True"),
        ({"macs": "5M"}, "budget.macs=5M"),
        ({"macs": float("nan")}, "budget.macs=nan"),
        ({"macs": float("inf")}, "budget.macs=inf"),
    ],
)
def test_what_is_no_budget_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        read_budget(given)


def test_a_limit_may_be_met_exactly():
    assert exceeded(SMALL, read_budget({"size_kb": 40, "params": 9000, "macs": 9e6})) == []


def test_each_limit_that_is_not_met_is_named_with_both_numbers():
    assert exceeded(LARGE, {"size_kb": 100, "macs": 5e6}) == ["size_kb 900.0 > 100.0", "macs 20 M > 5 M"]


def test_what_nobody_timed_is_within_any_time():
    assert exceeded(SMALL, {"latency_ms": 0.001}) == []
    assert exceeded(SMALL._replace(latency_ms=1.5), {"latency_ms": 1.0}) == ["latency_ms 1.5 > 1"]


def test_nearest_is_who_meets_the_other_limits():
    # The one with the fewest multiplications is too large; of those that are small enough there is one.
    assert nearest(COSTS, {"size_kb": 100, "macs": 5e6}) == [
        "size_kb=100.0: nearest is quick with 300.0",
        "macs=5 M: nearest is small with 9 M",
    ]


def test_where_nobody_meets_the_other_limits_nearest_says_what_else_is_over():
    assert nearest(COSTS, {"size_kb": 10, "macs": 1e6}) == [
        "size_kb=10.0: nearest is small with 40.0 (macs 9 M > 1 M)",
        "macs=1 M: nearest is quick with 2 M (size_kb 300.0 > 10.0)",
    ]


def test_smaller_is_smaller_in_every_way():
    assert is_smaller(SMALL, LARGE)
    assert not is_smaller(SMALL, QUICK)  # more multiplications
    assert not is_smaller(SMALL, SMALL)
