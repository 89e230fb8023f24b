"""Confidence intervals: speakers resampled together, and Student's t over seeds.

Utterances of one speaker are not independent, so the bootstrap draws whole speakers (clusters) with
replacement and keeps all of their utterances. Every function works on one value an utterance (1 where the
output was right, else 0): a resampled mean is then a ratio of sums over clusters, and all resamples are one
matrix product.

Percentile intervals of n clusters are too narrow by about sqrt((n - 1) / n) and by the tails of Student's t;
each tail is therefore cut at Phi(-sqrt(n / (n - 1)) t) instead of 2.5 %: the expanded percentile interval of
Hesterberg, "What teachers should know about the bootstrap" (2015). With thirty test speakers it matters.
"""

from collections.abc import Iterator, Sequence
from math import ceil, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri, stdtrit

RESAMPLES = 2000
BLOCK = 1 << 21  # drawn clusters held at a time: 16 MB, however many speakers there are

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A value with its interval; `low` and `high` are NaN where the data cannot tell."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval (never when it is unknown, or of no width: too few clusters)."""
        return self.low < self.high and (self.low > 0 or self.high < 0)


def tail_probability(groups: int, level: float = 0.95) -> float:
    """Probability that each tail of a bootstrap of `groups` clusters leaves out (Hesterberg 2015).

    Args:
        groups: number of clusters that are resampled, at least 2.
        level: nominal coverage, in (0, 1).
    """
    return float(ndtr(-sqrt(groups / (groups - 1)) * stdtrit(groups - 1, 0.5 + level / 2)))


def resampled_means(
    values: ArrayLike, clusters: Sequence[str] | NDArray, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Floats, int]:
    """Means of jointly resampled columns: every column sees the same draw of clusters.

    Args:
        values: (N,) or (N, K) one row an utterance.
        clusters: (N,) the speaker of each. With a single speaker the utterances themselves are resampled.
        resamples: how many bootstrap samples R.
        seed: makes the draw repeatable.

    Returns:
        The means (R, K) and the number of clusters.

    Raises:
        ValueError: when there is no utterance, or not one cluster an utterance.
    """
    columns = np.asarray(values, dtype=np.float64)
    columns = columns[:, None] if columns.ndim == 1 else columns
    index, groups = _cluster_index(clusters, len(columns))
    sums = np.zeros((groups, columns.shape[1] + 1))
    np.add.at(sums, index, np.column_stack([columns, np.ones(len(columns))]))
    rng = np.random.default_rng(seed)
    totals = np.concatenate([drawn @ sums for drawn in _draws(groups, resamples, rng)])
    return totals[:, :-1] / totals[:, -1:], groups


def interval(
    values: ArrayLike,
    clusters: Sequence[str] | NDArray,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Interval of a mean, by resampling speakers.

    Args:
        values: (N,) one value an utterance, 0/1 for an accuracy.
        clusters: (N,) the speaker of each.
        level: coverage, in (0, 1).
        resamples: how many bootstrap samples.
        seed: makes the draw repeatable.

    Returns:
        (low, high), NaN when there is one utterance only.

    Raises:
        ValueError: when there is no utterance, or not one cluster an utterance.
    """
    means, groups = resampled_means(values, clusters, resamples, seed)
    return _percentiles(means[:, 0], groups, level)


def paired_difference(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[str] | NDArray,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Difference mean(a) - mean(b) of two systems on the same utterances, with its interval.

    Args:
        a: (N,) one value an utterance of the first system.
        b: (N,) the same utterances, in the same order, of the second.
        clusters: (N,) the speaker of each.
        level: coverage, in (0, 1).
        resamples: how many bootstrap samples.
        seed: makes the draw repeatable.

    Raises:
        ValueError: when the arrays differ in length or are empty.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(
            f"a paired difference needs the same utterances: got {first.shape} and {second.shape}"
        )
    difference = first - second
    low, high = interval(difference, clusters, level, resamples, seed)
    return Estimate(float(difference.mean()), low, high)


def gap_recovered(
    student: ArrayLike,
    baseline: ArrayLike,
    teacher: ArrayLike,
    clusters: Sequence[str] | NDArray,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate | None:
    """Share of the gap between baseline and teacher that the student closed.

    (student - baseline) / (teacher - baseline), all three resampled jointly.

    Args:
        student: (N,) one value an utterance, higher is better.
        baseline: (N,) the same utterances of the student trained alone.
        teacher: (N,) the same utterances of the teacher.
        clusters: (N,) the speaker of each.
        level: coverage, in (0, 1).
        resamples: how many bootstrap samples.
        seed: makes the draw repeatable.

    Returns:
        The share (1 is the whole gap), or None unless the interval of teacher - baseline lies above zero: a
        share of a gap that may not be there says nothing.
    """
    gap = paired_difference(teacher, baseline, clusters, level, resamples, seed)
    if not (gap.excludes_zero and gap.low > 0):
        return None
    columns = np.column_stack([student, baseline, teacher]).astype(np.float64)
    means, groups = resampled_means(columns, clusters, resamples, seed)
    gain, room = means[:, 0] - means[:, 1], means[:, 2] - means[:, 1]
    # The few resamples without a gap (fewer than a tail holds) lie beyond the end that the gain points to.
    beyond = np.copysign(np.finfo(float).max, gain)
    share = np.where(room > 0, gain / np.where(room > 0, room, 1.0), beyond)
    value = float(columns[:, 0].mean() - columns[:, 1].mean()) / gap.value
    return Estimate(value, *_percentiles(share, groups, level))


def seeds_and_clusters(
    a: Sequence[ArrayLike],
    clusters: Sequence[str] | NDArray,
    b: Sequence[ArrayLike] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    counts: ArrayLike | None = None,
) -> Estimate:
    """Mean over seeds and utterances, or the difference of two arms, when both seeds and speakers vary.

    The pigeonhole bootstrap (Owen 2007) draws seeds and speakers independently, each with replacement; it
    errs on the wide side. The arms share the drawn speakers (the same test set), not the drawn seeds: those
    barely pair.

    Args:
        a: one array (N,) a seed, one value an utterance.
        clusters: (N,) the speaker of each utterance.
        b: the arm to subtract, in the same form with any number of seeds; None for the mean of `a` alone.
        level: coverage, in (0, 1).
        resamples: how many bootstrap samples.
        seed: makes the draw repeatable.
        counts: (N,) what the values are errors of, such as the words of each utterance: the mean is then a rate, the
            sum of values over the sum of counts. One an utterance by default.

    Raises:
        ValueError: when there is no seed, or the arrays do not fit the clusters.
    """
    rng = np.random.default_rng(seed)
    index, groups = _cluster_index(clusters, len(clusters))
    counted = np.ones(len(index)) if counts is None else np.asarray(counts, dtype=np.float64)
    sizes = np.bincount(index, weights=counted, minlength=groups)
    drawn = np.concatenate(list(_draws(groups, resamples, rng)))
    value, samples, fewest = 0.0, np.zeros(resamples), groups
    for arm, sign in ((a, 1.0), (b, -1.0)):
        if arm is None:
            continue
        table = np.asarray(arm, dtype=np.float64)
        if table.ndim != 2 or table.shape[1] != len(index) or not len(table):
            raise ValueError(f"seeds x utterances {table.shape} do not fit {len(index)} clusters")
        sums = np.stack([np.bincount(index, weights=row, minlength=groups) for row in table])
        seeds = np.concatenate(list(_draws(len(table), resamples, rng))) / len(table)
        samples += sign * np.einsum("rs,sg,rg->r", seeds, sums, drawn, optimize=True) / (drawn @ sizes)
        value += sign * float(table.sum(axis=1).mean() / sizes.sum())
        # A single seed says nothing about seeds: its interval is over speakers alone.
        fewest = min(fewest, len(table)) if len(table) > 1 else fewest
    return Estimate(value, *_percentiles(samples, fewest, level))


def seed_mean(values: ArrayLike, level: float = 0.95) -> Estimate:
    """Mean over seeds with Student's t interval; one seed has no interval (NaN).

    Args:
        values: (S,) one result a seed.
        level: coverage, in (0, 1).
    """
    results = np.asarray(values, dtype=np.float64)
    if not results.size:
        raise ValueError("a mean over seeds needs at least one seed")
    if results.size == 1:
        return Estimate(float(results[0]), np.nan, np.nan)
    half = stdtrit(results.size - 1, 0.5 + level / 2) * results.std(ddof=1) / sqrt(results.size)
    return Estimate(float(results.mean()), float(results.mean() - half), float(results.mean() + half))


def seed_difference(a: ArrayLike, b: ArrayLike, paired: bool, level: float = 0.95) -> Estimate:
    """Difference of two arms over seeds: the paired t interval, or Welch's.

    Args:
        a: (S,) one result a seed.
        b: (S',) the arm to subtract; the same seeds in the same order when `paired`.
        paired: whether the seeds match.
        level: coverage, in (0, 1).
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if paired:
        if first.shape != second.shape:
            raise ValueError(f"paired arms need the same seeds: got {first.size} and {second.size}")
        return seed_mean(first - second, level)
    value = float(first.mean() - second.mean())
    if min(first.size, second.size) < 2:
        return Estimate(value, np.nan, np.nan)
    errors = np.array([first.var(ddof=1) / first.size, second.var(ddof=1) / second.size])
    variance = float(errors.sum())
    if variance == 0.0:
        return Estimate(value, value, value)
    freedom = variance**2 / float((errors**2 / (np.array([first.size, second.size]) - 1)).sum())
    half = float(stdtrit(freedom, 0.5 + level / 2)) * sqrt(variance)
    return Estimate(value, value - half, value + half)


def seeds_needed(difference: float, deviation: float, level: float = 0.95, power: float = 0.8) -> int:
    """Seeds an arm needs so that a true difference is found, ((z_level + z_power) deviation / difference)^2.

    Args:
        difference: the difference to find, in the unit of the metric.
        deviation: standard deviation of the difference of two single seeds (sqrt(2) times that of one arm).
        level: coverage of the interval that has to exclude zero.
        power: probability that it does.
    """
    return max(2, ceil(((ndtri(0.5 + level / 2) + ndtri(power)) * deviation / difference) ** 2))


def _cluster_index(clusters: Sequence[str] | NDArray, count: int) -> tuple[NDArray[np.int64], int]:
    """Cluster number of each utterance, and how many clusters are resampled."""
    if len(clusters) != count:
        raise ValueError(
            f"{count} values but {len(clusters)} clusters: give one cluster (speaker) for each value"
        )
    if not count:
        raise ValueError("no values: an interval needs at least one utterance")
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) == 1:
        return np.arange(count), count
    return index, len(names)


def _draws(groups: int, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Blocks (rows, groups) of how often each group was drawn; a row is one bootstrap sample."""
    rows = max(1, BLOCK // groups)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = rng.integers(0, groups, size=(count, groups)) + groups * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * groups).reshape(count, groups).astype(np.float64)


def _percentiles(samples: Floats, groups: int, level: float) -> tuple[float, float]:
    if groups < 2:
        return np.nan, np.nan
    tail = tail_probability(groups, level)
    low, high = np.quantile(samples, [tail, 1 - tail], method="nearest")
    return float(low), float(high)
