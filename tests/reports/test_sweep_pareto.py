"""The Pareto front, against its definition."""

import numpy as np

from kd_lightning.reports.pareto import add_fronts, pareto_front


def test_what_another_one_beats_at_no_more_cost_is_not_on_the_front():
    costs, values = [1, 2, 2, 3, 4], [0.7, 0.8, 0.75, 0.8, 0.9]
    assert pareto_front(costs, values).tolist() == [True, True, False, False, True]
    assert pareto_front(costs, np.negative(values), lower_is_better=True).tolist() == [
        True,
        True,
        False,
        False,
        True,
    ]


def test_the_front_follows_its_definition_pair_by_pair():
    rng = np.random.default_rng(0)
    for _ in range(50):
        costs, values = rng.integers(0, 6, 12), rng.integers(0, 6, 12)  # with ties
        dominated = [
            any(
                costs[j] <= costs[i]
                and values[j] >= values[i]
                and (costs[j] < costs[i] or values[j] > values[i])
                for j in range(12)
            )
            for i in range(12)
        ]
        assert pareto_front(costs, values).tolist() == [not beaten for beaten in dominated]


def test_what_is_unknown_is_on_no_front_and_beats_nothing():
    assert pareto_front([1, np.nan, 2], [0.5, 0.9, np.nan]).tolist() == [True, False, False]


def row(accuracy, size, macs, latency):
    return {
        "metrics": {} if accuracy is None else {"accuracy": accuracy},
        "size_bytes": size,
        "macs": macs,
        "latency_ms": {"p50": latency, "p95": None},
    }


def test_a_cost_that_all_share_has_no_front():
    rows = [row(0.8, 100, 5, 1.0), row(0.9, 100, 9, 0.5), row(None, 100, 1, 0.1)]
    add_fronts(rows, "accuracy", False)
    assert [one["front"] for one in rows] == [["macs"], ["macs", "latency"], []]
