"""Intervals against SciPy, closed forms and the coverage they promise."""

from time import perf_counter

import numpy as np
import pytest
from scipy import stats

from kd_lightning.metrics.intervals import (
    gap_recovered,
    interval,
    paired_difference,
    resampled_means,
    seed_difference,
    seed_mean,
    seeds_and_clusters,
    seeds_needed,
    tail_probability,
)


def speakers_of(speakers: int, each: int) -> np.ndarray:
    return np.repeat([f"speaker{number}" for number in range(speakers)], each)


def test_equal_speakers_agree_with_scipy_bootstrap_of_speaker_means():
    rng = np.random.default_rng(3)
    table = rng.random((40, 25)) < rng.beta(8, 2, (40, 1))
    low, high = interval(table.ravel(), speakers_of(40, 25), resamples=20_000)
    oracle = stats.bootstrap(
        (table.mean(axis=1),), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(4),
        confidence_level=1 - 2 * tail_probability(40),
    ).confidence_interval  # fmt: skip
    assert (low, high) == pytest.approx((oracle.low, oracle.high), abs=2e-3)


def test_unequal_speakers_match_a_loop_over_drawn_speakers():
    rng = np.random.default_rng(0)
    clusters = rng.choice(["a", "b", "c", "d"], size=200, p=[0.5, 0.3, 0.15, 0.05])
    values = rng.random(200)
    means, groups = resampled_means(values, clusters, resamples=500, seed=9)
    assert groups == 4
    drawn = np.random.default_rng(9).integers(0, 4, size=(500, 4))
    loop = [np.concatenate([values[clusters == "abcd"[one]] for one in draw]).mean() for draw in drawn]
    np.testing.assert_allclose(means[:, 0], loop, rtol=1e-12)


def test_interval_covers_the_true_accuracy_as_often_as_it_says():
    rng = np.random.default_rng(1)
    clusters, truth, covered, trials = speakers_of(12, 20), 0.8, 0, 400
    for trial in range(trials):
        ability = rng.beta(8, 2, (12, 1))
        low, high = interval((rng.random((12, 20)) < ability).ravel(), clusters, resamples=600, seed=trial)
        covered += low <= truth <= high
    # Three standard errors of a proportion of 400 around 95 %, and one point for the skew of accuracies.
    assert covered / trials == pytest.approx(0.95, abs=0.033 + 0.01)


def test_speakers_that_differ_widen_the_interval():
    values = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0, 1.0], 50)
    by_speaker = interval(values, speakers_of(10, 50))
    by_cut = interval(values, speakers_of(500, 1))
    assert by_speaker[1] - by_speaker[0] > 5 * (by_cut[1] - by_cut[0])


def test_one_speaker_falls_back_to_utterances_and_one_utterance_has_no_interval():
    values = np.array([0.0, 1.0] * 50)
    low, high = interval(values, ["one"] * 100)
    assert low == pytest.approx(0.5 - 1.98 * 0.05, abs=0.015)
    assert high == pytest.approx(0.5 + 1.98 * 0.05, abs=0.015)
    assert np.isnan(interval([1.0], ["one"])).all()


def test_the_same_seed_gives_the_same_interval():
    values, clusters = np.random.default_rng(2).random(300), speakers_of(30, 10)
    assert interval(values, clusters, seed=5) == interval(values, clusters, seed=5)
    assert interval(values, clusters, seed=5) != interval(values, clusters, seed=6)


@pytest.mark.parametrize(("utterances", "speakers"), [(3000, 30), (5000, 2000)])
def test_two_thousand_resamples_take_well_under_a_second(utterances, speakers):
    rng = np.random.default_rng(0)
    clusters = np.array(
        [f"{number:08x}_nohash" for number in rng.integers(0, speakers, utterances)], dtype=object
    )
    values = rng.random(utterances) < 0.9
    start = perf_counter()
    interval(values, clusters)
    assert perf_counter() - start < 1.0


def test_pairing_removes_what_both_systems_share():
    rng = np.random.default_rng(0)
    clusters, hard = speakers_of(30, 50), np.repeat(rng.random(30) < 0.3, 50)
    first = np.where(hard, 0.0, 1.0)
    second = first.copy()
    second[::25] = 0.0
    difference = paired_difference(first, second, clusters)
    assert difference.value == pytest.approx((first - second).mean())
    assert difference.excludes_zero
    separate = interval(first, clusters)
    assert difference.high - difference.low < 0.3 * (separate[1] - separate[0])
    assert not paired_difference(first, first, clusters).excludes_zero


def test_gap_recovered_is_the_ratio_of_the_means_and_covers_it():
    rng = np.random.default_rng(0)
    clusters = speakers_of(40, 50)
    draw = rng.random(2000)
    teacher, student, baseline = draw < 0.95, draw < 0.90, draw < 0.80
    share = gap_recovered(student, baseline, teacher, clusters)
    assert share is not None
    expected = (student.mean() - baseline.mean()) / (teacher.mean() - baseline.mean())
    assert share.value == pytest.approx(expected)
    assert share.low < 2 / 3 < share.high
    assert 0.3 < share.low < share.value < share.high < 1.0


def test_gap_recovered_is_exact_for_the_teacher_and_the_baseline_themselves():
    rng = np.random.default_rng(0)
    clusters, draw = speakers_of(40, 50), rng.random(2000)
    teacher, baseline = draw < 0.95, draw < 0.80
    assert gap_recovered(teacher, baseline, teacher, clusters) == pytest.approx((1.0, 1.0, 1.0))
    assert gap_recovered(baseline, baseline, teacher, clusters) == pytest.approx((0.0, 0.0, 0.0))


def test_no_gap_or_a_worse_teacher_recovers_nothing():
    rng = np.random.default_rng(0)
    clusters = speakers_of(20, 10)
    one, other, student = (rng.random((3, 200)) < 0.8).astype(float)
    assert gap_recovered(student, one, other, clusters) is None
    assert gap_recovered(student, np.ones(200), np.zeros(200), clusters) is None


def test_student_t_over_seeds_equals_scipy():
    first, second = np.array([0.81, 0.83, 0.80, 0.86]), np.array([0.78, 0.80, 0.79, 0.81])
    oracle = stats.t.interval(0.95, 3, loc=first.mean(), scale=stats.sem(first))
    assert seed_mean(first) == pytest.approx((first.mean(), *oracle))
    paired = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert seed_difference(first, second, paired=True)[1:] == pytest.approx((paired.low, paired.high))
    welch = stats.ttest_ind(first, second[:3], equal_var=False).confidence_interval(0.95)
    assert seed_difference(first, second[:3], paired=False)[1:] == pytest.approx((welch.low, welch.high))


def test_one_seed_has_a_mean_and_no_interval():
    assert seed_mean([0.8]).value == pytest.approx(0.8)
    assert np.isnan(seed_mean([0.8])[1:]).all()
    assert np.isnan(seed_difference([0.8], [0.7, 0.75], paired=False)[1:]).all()
    assert not seed_mean([0.8]).excludes_zero


def test_seeds_needed_for_a_point_matches_the_power_of_a_normal_test():
    assert seeds_needed(1.0, 1.2) == 12
    assert seeds_needed(1.0, 2.5) == 50
    assert seeds_needed(2.5, 2.5) == 8


def test_two_level_bootstrap_has_the_variance_of_seeds_plus_speakers():
    rng = np.random.default_rng(0)
    seeds, speakers, each = 20, 40, 10
    clusters = speakers_of(speakers, each)
    seed_effect, speaker_effect = rng.normal(0, 0.03, (seeds, 1)), rng.normal(0, 0.05, speakers)
    results = 0.8 + seed_effect + np.repeat(speaker_effect, each)
    estimate = seeds_and_clusters(list(results), clusters)
    assert estimate.value == pytest.approx(results.mean())
    expected = np.sqrt(seed_effect.var() / seeds + speaker_effect.var() / speakers)
    width = -stats.norm.ppf(tail_probability(seeds)) * expected
    assert (estimate.high - estimate.low) / 2 == pytest.approx(width, rel=0.08)


def test_two_arms_share_speakers_so_that_a_constant_gain_has_only_seed_variance():
    rng = np.random.default_rng(0)
    clusters = speakers_of(30, 10)
    speaker_effect = np.repeat(rng.normal(0, 0.2, 30), 10)
    first = [0.85 + speaker_effect] * 5
    second = [0.80 + speaker_effect] * 4
    difference = seeds_and_clusters(first, clusters, second)
    assert difference == pytest.approx((0.05, 0.05, 0.05))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="one cluster"):
        interval([1.0, 0.0], ["a"])
    with pytest.raises(ValueError, match="no values"):
        interval([], [])
    with pytest.raises(ValueError, match="same utterances"):
        paired_difference([1.0], [1.0, 0.0], ["a"])
    with pytest.raises(ValueError, match="do not fit"):
        seeds_and_clusters([np.ones(3)], ["a", "b"])
