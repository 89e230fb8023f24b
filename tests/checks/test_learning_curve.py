"""Curves of students whose law is known."""

import numpy as np
import pytest

from kd_lightning.checks.learning_curve import fit


def students(law, fractions, seeds, scatter, seed=0):
    rng = np.random.default_rng(seed)
    return {f: list(law(f) + scatter * rng.standard_normal(seeds)) for f in fractions}


def law(fraction):
    return 0.12 + 0.03 * fraction**-0.5


def test_a_power_law_without_scatter_is_found_again():
    curves = fit(students(law, (0.1, 0.2, 0.4, 1.0), 3, 1e-6))
    for fraction in (0.05, 0.3, 0.7):
        assert np.median(curves.at(fraction)) == pytest.approx(law(fraction), rel=0.01)
    assert np.median(curves.floor) == pytest.approx(0.12, abs=0.005)


def test_errors_never_rise_with_labels_and_are_never_negative():
    rising = {0.1: [0.20, 0.22], 0.3: [0.25, 0.26], 1.0: [0.30, 0.28]}
    curves = fit(rising)
    assert (curves.slope >= 0).all()
    assert (curves.floor >= 0).all()
    assert (curves.at(0.1) >= curves.at(1.0)).all()


def test_what_scatters_is_pooled_over_the_fractions():
    errors = {0.1: [0.2, 0.4], 1.0: [0.1, 0.2, 0.3]}
    within = (0.02 + 0.02) / (1 + 2)
    assert fit(errors).scatter == pytest.approx(within**0.5)


def test_intervals_of_the_curve_cover_the_truth_as_often_as_they_say():
    covered = 0
    for seed in range(100):
        curves = fit(students(law, (0.1, 0.3, 1.0), 4, 0.01, seed), draws=400)
        low, high = np.quantile(curves.at(0.1) - curves.at(0.9), [0.025, 0.975])
        covered += low <= law(0.1) - law(0.9) <= high
    assert 88 <= covered <= 100


def test_beyond_the_fractions_the_interval_grows():
    curves = fit(students(law, (0.3, 1.0), 5, 0.005))
    inside, beyond = (np.subtract(*np.quantile(curves.at(f), [0.975, 0.025])) for f in (0.5, 0.05))
    assert beyond > 3 * inside


def test_more_seeds_make_it_narrower():
    few, many = (fit(students(law, (0.1, 0.3, 1.0), seeds, 0.01)) for seeds in (2, 40))
    widths = [np.subtract(*np.quantile(one.at(0.1), [0.975, 0.025])) for one in (few, many)]
    assert widths[1] < widths[0] / 2


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ({0.1: [0.2, 0.3]}, "two labelled fractions or more"),
        ({0.1: [0.2], 1.0: [0.1]}, "seeds=2 or more"),
    ],
)
def test_too_little_makes_no_curve(errors, said):
    with pytest.raises(ValueError, match=said):
        fit(errors)
