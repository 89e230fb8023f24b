"""Which swept key mattered: the share of a metric's variance that each key explains, with seed noise as reference.

A linear model of main effects is fitted to all finished runs by least squares. What the metric loses in fit when a key
is left out is the key's sum of squares (type II, Yates 1934; Langsrud, "ANOVA for unbalanced data", 2003): on a full
grid the classical decomposition, and right where runs are missing. The noise is the scatter of seeds within a setting;
its expected part is taken out of every share (epsilon squared, Kelley 1935), so that a key that does nothing explains
nothing, however many values it has. On a full grid the shares of keys, of their interactions and of the noise add up
to one: the functional analysis of variance that Hutter, Hoos and Leyton-Brown ("An efficient approach for assessing
hyperparameter importance", 2014) read from a forest where there is no grid.

An F test says whether a key explains more than noise would; with several keys Holm's correction (1979) keeps the chance
of any false finding at 5 %.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc

# A key of numbers with more values than this is fitted by a parabola instead of a level a value.
MOST_LEVELS = 6
SURE = 0.05
# Of the sum of squares: what seeds that agree to the last digit leave over is no more.
ROUNDING = 1e-12

Floats = NDArray[np.float64]


class Key(NamedTuple):
    """What one key of a sweep explains.

    Attributes:
        key: its name.
        values: how many there are.
        share: of the variance, without what noise would explain; None where other keys change along with it.
        p: chance that noise alone explains as much, after Holm's correction; None where it cannot be tested.
        best: the value with the best mean, all other keys equal, and ``worst`` that with the worst.
        effect: of best over worst, in the metric's own numbers.
        along: keys that change along with it, so that nobody can tell which of them matters.
    """

    key: str
    values: int
    share: float | None
    p: float | None
    best: str | None = None
    worst: str | None = None
    effect: float | None = None
    along: tuple[str, ...] = ()

    @property
    def matters(self) -> bool:
        return self.p is not None and self.p < SURE


class Importance(NamedTuple):
    """What each key, their interactions and noise explain of a metric.

    Attributes:
        keys: the most important first.
        interactions: share of what depends on several keys at once; None without seeds to tell it from noise.
        interactions_p: chance that noise alone explains as much.
        noise: share that seeds explain; None where nothing says how large the noise is.
        noise_from: "seeds", "runs" (what the keys leave over), or None.
        freedom: degrees of freedom of the noise.
    """

    keys: list[Key]
    interactions: float | None
    interactions_p: float | None
    noise: float | None
    noise_from: str | None
    freedom: int


class _Fit(NamedTuple):
    left: float  # residual sum of squares
    rank: int


def importance(
    values: ArrayLike,
    factors: Mapping[str, Sequence[str]],
    settings: Sequence[int],
    lower_is_better: bool = False,
) -> Importance | None:
    """Share the variance of a metric among the keys of a sweep.

    Args:
        values: (N,) the metric of each run.
        factors: the value (N,) of each key that differs between the runs.
        settings: (N,) the setting of each run; runs of one setting differ in nothing but their seed.
        lower_is_better: of the metric.

    Returns:
        None where no key or no value differs.
    """
    metric = np.asarray(values, dtype=np.float64)
    total = float(((metric - metric.mean()) ** 2).sum())
    factors = {key: list(levels) for key, levels in factors.items() if len(set(levels)) > 1}
    if not factors or total <= ROUNDING * max(1.0, float((metric**2).sum())):
        return None
    columns = {key: _columns(levels) for key, levels in factors.items()}
    full = _fit(columns, metric)
    without = {
        key: _fit({other: part for other, part in columns.items() if other != key}, metric) for key in columns
    }
    pure, pure_freedom = _within(metric, settings)
    free = len(metric) - full.rank
    source = "seeds" if pure_freedom else "runs" if free else None
    freedom = pure_freedom or free
    left = _beyond_rounding(pure if pure_freedom else full.left, total)
    noise = left / freedom if freedom else None

    effects = _effects(columns, metric)
    found = []
    for key, levels in factors.items():
        gained, own = _beyond_rounding(without[key].left - full.left, total), full.rank - without[key].rank
        alone = _fit({key: columns[key]}, metric).rank - 1
        if own < alone:
            along = tuple(
                other for other in factors if other != key and _aliased(columns[key], columns[other], metric)
            )
            found.append(Key(key, len(set(levels)), None, None, along=along))
            continue
        worst, best, effect = _span(levels, effects[key], lower_is_better)
        share = max(0.0, gained - own * (noise or 0.0)) / total
        p = _chance(gained, own, noise, freedom)
        found.append(Key(key, len(set(levels)), share, p, best, worst, effect))
    return Importance(
        _holm(sorted(found, key=lambda one: (one.share is None, -(one.share or 0.0)))),
        *_interactions(full.left - pure, free - pure_freedom, noise, freedom, total, source),
        None if noise is None else min(1.0, noise * (len(metric) - 1) / total),
        source,
        freedom,
    )


def as_number(text: str) -> float | None:
    """The finite number that a word's value is, else None."""
    try:
        found = float(text)
    except ValueError:
        return None
    return found if np.isfinite(found) else None


def _columns(levels: Sequence[str]) -> Floats:
    """(N, K): a column a value, or a parabola over many numbers (over their logarithm, where they span a decade)."""
    known = sorted(set(levels))
    numbers = [as_number(level) for level in levels]
    if len(known) <= MOST_LEVELS or any(number is None for number in numbers):
        return np.array([[level == one for one in known] for level in levels], dtype=np.float64)
    place = np.array(numbers, dtype=np.float64)
    if place.min() > 0 and place.max() >= 10 * place.min():
        place = np.log(place)
    place = (place - place.mean()) / place.std()
    return np.column_stack([place, place**2])


def _design(columns: Mapping[str, Floats], count: int) -> Floats:
    return np.column_stack([np.ones(count), *columns.values()])


def _fit(columns: Mapping[str, Floats], metric: Floats) -> _Fit:
    design = _design(columns, len(metric))
    solution, _, rank, _ = np.linalg.lstsq(design, metric, rcond=1e-9)
    return _Fit(float(((metric - design @ solution) ** 2).sum()), int(rank))


def _effects(columns: Mapping[str, Floats], metric: Floats) -> dict[str, Floats]:
    """What each key adds to each run (N,) in the fitted model."""
    design = _design(columns, len(metric))
    solution = np.linalg.lstsq(design, metric, rcond=1e-9)[0][1:]
    ends = np.cumsum([part.shape[1] for part in columns.values()])[:-1]
    parts = np.split(solution, ends)
    return {key: part @ own for (key, part), own in zip(columns.items(), parts, strict=True)}


def _span(levels: Sequence[str], added: Floats, lower_is_better: bool) -> tuple[str, str, float]:
    """The values with the worst and the best mean, and how far the best is above."""
    low, high = int(added.argmin()), int(added.argmax())
    worst, best = (high, low) if lower_is_better else (low, high)
    return levels[worst], levels[best], float(added[best] - added[worst])


def _within(metric: Floats, settings: Sequence[int]) -> tuple[float, int]:
    """Sum of squares of the runs about their setting's mean, and its degrees of freedom."""
    _, index = np.unique(np.asarray(settings), return_inverse=True)
    counts = np.bincount(index)
    means = np.bincount(index, weights=metric) / counts
    return float(((metric - means[index]) ** 2).sum()), int(len(metric) - len(counts))


def _aliased(one: Floats, other: Floats, metric: Floats) -> bool:
    """Whether two keys together say less than each of them alone."""
    alone = sum(_fit({"": part}, metric).rank - 1 for part in (one, other))
    return _fit({"one": one, "other": other}, metric).rank - 1 < alone


def _beyond_rounding(squares: float, total: float) -> float:
    """A sum of squares, or a difference of two, without what rounding leaves of nothing."""
    return squares if squares > ROUNDING * total else 0.0


def _chance(gained: float, own: int, noise: float | None, freedom: int) -> float | None:
    """The F test's p."""
    if noise is None or own < 1:
        return None
    if noise == 0.0:
        return 0.0 if gained > 0.0 else 1.0
    return float(fdtrc(own, freedom, gained / own / noise))


def _interactions(
    gained: float, own: int, noise: float | None, freedom: int, total: float, source: str | None
) -> tuple[float | None, float | None]:
    """Share and p of what main effects leave over beyond the noise of seeds."""
    if source != "seeds" or noise is None or own < 1:
        return None, None
    gained = _beyond_rounding(gained, total)
    return max(0.0, gained - own * noise) / total, _chance(gained, own, noise, freedom)


def _holm(keys: list[Key]) -> list[Key]:
    """The p of each key, corrected for how many are tested."""
    tested = sorted((key for key in keys if key.p is not None), key=lambda key: key.p or 0.0)
    corrected: dict[str, float] = {}
    largest = 0.0
    for place, key in enumerate(tested):
        largest = max(largest, min(1.0, (len(tested) - place) * (key.p or 0.0)))
        corrected[key.key] = largest
    return [key._replace(p=corrected.get(key.key, key.p)) for key in keys]
