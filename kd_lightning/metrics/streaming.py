"""How a keyword spotter behaves on long audio: false alarms per hour against misses, and how late it fires.

Posteriors are smoothed by a moving average (Chen, Parada and Heigold, "Small-footprint keyword spotting using deep
neural networks", 2014). A keyword fires when its smoothed posterior reaches its threshold, and then not again within
the refractory period. Each keyword is judged one against the rest: every other word is a non-target to it. Means are
over keywords at equal miss rates, each keyword at a threshold of its own.

An operating point is a threshold that exists, the one with the fewest false alarms among those that miss at most so
much; nothing is interpolated between thresholds.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_lightning.metrics.intervals import resampled_means, tail_probability

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

THRESHOLDS = 200
LOWER = 20
RESAMPLES = 500
CURVE_POINTS = 100
_BLOCK_SECONDS = 60.0
_NONE = -1


class Detector(NamedTuple):
    """How posteriors become detections, and detections count; all in seconds.

    Attributes:
        hop: from one posterior to the next.
        smoothing: length of the moving average.
        refractory: after a keyword has fired, it is silent for so long.
        tolerance: a detection belongs to a word from its onset until so long after its end. By default until the
            one-second window has left the word.
    """

    hop: float = 0.1
    smoothing: float = 0.3
    refractory: float = 1.0
    tolerance: float = 1.0

    def check(self) -> None:
        """Raises ValueError where a detector cannot be so."""
        for name, seconds in self._asdict().items():
            if not 0 < seconds < float("inf"):
                raise ValueError(f"{name}={seconds}: it is a time in seconds, above 0")


class Events(NamedTuple):
    """Words that were spoken: ``keyword`` (E,) column of the scores, ``onset`` and ``offset`` (E,) in seconds."""

    keyword: Integers
    onset: Floats
    offset: Floats


class Counts(NamedTuple):
    """What each of K keywords does at each of Q thresholds; of M minutes one by one, or of all together.

    Attributes:
        misses: (..., K, Q) events that are not detected.
        false_alarms: (..., K, Q) detections where the keyword is not said.
        events: (..., K).
        hours: (..., K) audio in which the keyword is not said.
    """

    misses: NDArray[Any]
    false_alarms: NDArray[Any]
    events: NDArray[Any]
    hours: NDArray[Any]

    def together(self) -> "Counts":
        """The sum over minutes."""
        return Counts(*(part.sum(axis=0) for part in self))


class Sweep(NamedTuple):
    """A detector at all thresholds.

    Attributes:
        thresholds: (K, Q), rising.
        counts: minute by minute, (M, ...).
        keyword: (E,) of each event.
        delay: (E, Q) seconds from the word's end to the first detection, NaN where there is none.
    """

    thresholds: Floats
    counts: Counts
    keyword: Integers
    delay: Floats


class OperatingPoint(NamedTuple):
    """What it costs to miss at most a share of the events.

    Attributes:
        miss_rate: the share.
        false_alarms_per_hour: mean over keywords; NaN unless every keyword reaches the miss rate.
        interval: 95 %, minutes resampled; NaN when unknown.
        by_keyword: (K,) false alarms per hour; NaN where the rate cannot be reached or there are too few events.
        thresholds: (K,), NaN likewise.
        delay: median and 95th percentile over the detected events, in seconds; NaN unless every keyword is there.
    """

    miss_rate: float
    false_alarms_per_hour: float
    interval: tuple[float, float]
    by_keyword: Floats
    thresholds: Floats
    delay: tuple[float, float]


def smooth(posteriors: NDArray[np.floating], frames: int) -> Floats:
    """Mean of each posterior (N, K) and the ``frames`` - 1 before it, fewer at the beginning (Chen et al., eq. 1)."""
    count = len(posteriors)
    total = np.zeros(posteriors.shape)
    for lag in range(min(frames, count)):
        total[lag:] += posteriors[: count - lag]
    return total / np.minimum(np.arange(1, count + 1), frames)[:, None]


def event_at(events: Events, times: Floats, tolerance: float, keywords: int) -> Integers:
    """The event (N, K) that a detection of each keyword at each time belongs to, -1 for none.

    Between two events of a keyword the later one takes over at its onset.
    """
    found = np.full((len(times), keywords), _NONE)
    for keyword in range(keywords):
        mine = np.flatnonzero(events.keyword == keyword)
        if len(mine) == 0:
            continue
        mine = mine[np.argsort(events.onset[mine], kind="stable")]
        last = np.searchsorted(events.onset[mine], times, side="right") - 1
        event = mine[np.maximum(last, 0)]
        belongs = (last >= 0) & (times <= events.offset[event] + tolerance)
        found[belongs, keyword] = event[belongs]
    return found


def sweep(
    scores: Floats, times: Floats, events: Events, detector: Detector, thresholds: Floats | None = None
) -> Sweep:
    """Run the detector at all thresholds at once.

    Args:
        scores: (N, K) smoothed posteriors, ``detector.hop`` apart.
        times: (N,) when each is known, in seconds: the end of its window.
        events: what was said.
        detector: refractory period and tolerance.
        thresholds: (K, Q) rising. By default the largest scores of each keyword's events, up to THRESHOLDS of them
            at equal ranks (hardly an event is won or lost between two of these), and LOWER ones below.

    Raises:
        ValueError: a keyword has no event.
    """
    keywords = scores.shape[1]
    owner = event_at(events, times, detector.tolerance, keywords)
    if missing := set(range(keywords)) - set(events.keyword.tolist()):
        raise ValueError(f"keywords {sorted(missing)} are never said: a miss rate needs events")
    if thresholds is None:
        thresholds = _thresholds(scores, owner, events.keyword)
    minute = ((times - times[0]) // _BLOCK_SECONDS).astype(np.int64)
    shape = (int(minute[-1]) + 1, *thresholds.shape)
    false_alarms = np.zeros(shape, np.int64)
    heard_at = np.full((len(events.keyword), shape[2]), np.nan)
    rest = max(1, round(detector.refractory / detector.hop))
    ready = np.zeros(thresholds.shape, np.int64)
    # Whether a threshold may fire hangs on when it last did: one frame after the other, all keywords and thresholds
    # at once.
    for frame in range(len(times)):
        fires = (scores[frame][:, None] >= thresholds) & (ready <= frame)
        if not fires.any():
            continue
        ready[fires] = frame + rest
        keyword, column = np.nonzero(fires)
        event = owner[frame, keyword]
        false = event == _NONE
        false_alarms[minute[frame], keyword[false], column[false]] += 1
        event, column = event[~false], column[~false]
        first = np.isnan(heard_at[event, column])
        heard_at[event[first], column[first]] = times[frame]
    delay = heard_at - events.offset[:, None]
    said_in = minute[np.clip(np.searchsorted(times, events.offset), 0, len(times) - 1)]
    misses, said, frames = np.zeros(shape, np.int64), np.zeros(shape[:2], np.int64), np.zeros(shape[:2])
    np.add.at(misses, (said_in, events.keyword), np.isnan(delay))
    np.add.at(said, (said_in, events.keyword), 1)
    np.add.at(frames, minute, owner == _NONE)
    hours = frames * detector.hop / 3600
    return Sweep(thresholds, Counts(misses, false_alarms, said, hours), events.keyword, delay)


def operating_point(swept: Sweep, miss_rate: float, seed: int = 0) -> OperatingPoint:
    """The fewest false alarms at which no keyword misses more than ``miss_rate`` of its events.

    A keyword with fewer than 1 / miss_rate events has no such point: none of them may be missed, which says nothing
    of the rate.
    """
    counts = swept.counts.together()
    rates, chosen = _fewest(counts, miss_rate)
    enough = np.isfinite(rates) & (counts.events * miss_rate >= 1 - 1e-9)
    by_keyword = np.where(enough, rates, np.nan)
    keywords = np.arange(len(chosen))
    thresholds = np.where(enough, swept.thresholds[keywords, chosen], np.nan)
    delay = interval = (np.nan, np.nan)
    if enough.all():
        delays = swept.delay[np.arange(len(swept.keyword)), chosen[swept.keyword]]
        delay = tuple(np.nanpercentile(delays, [50, 95]).tolist())
        interval = _interval(swept, miss_rate, seed)
    return OperatingPoint(miss_rate, float(by_keyword.mean()), interval, by_keyword, thresholds, delay)


def det_curve(swept: Sweep) -> tuple[Floats, Floats]:
    """Miss rates (P,) and the mean over keywords of the fewest false alarms per hour (P,) at which each is kept.

    The miss rates are those that the keyword with the fewest events can tell apart, CURVE_POINTS at most; those that
    some keyword does not reach are left out.
    """
    counts = swept.counts.together()
    fewest = int(counts.events.min())
    missed = np.unique(np.linspace(1, fewest - 1, min(CURVE_POINTS, fewest - 1)).round()) / fewest
    alarms = np.array([_fewest(counts, rate)[0].mean() for rate in missed])
    return missed[np.isfinite(alarms)], alarms[np.isfinite(alarms)]


def _fewest(counts: Counts, miss_rate: float) -> tuple[Floats, Integers]:
    """Fewest false alarms per hour (..., K) at that miss rate, and at which threshold (..., K).

    Infinite where the rate is not reached, or nothing is said (in a draw of few minutes).
    """
    said = counts.events[..., None]
    kept = (counts.misses <= miss_rate * said + 1e-9) & (said > 0)
    # Where a keyword is never absent there is no time for a false alarm.
    rates = np.where(kept, counts.false_alarms / np.maximum(counts.hours[..., None], 1e-12), np.inf)
    chosen = rates.argmin(axis=-1)
    return np.take_along_axis(rates, chosen[..., None], axis=-1)[..., 0], chosen


def _interval(swept: Sweep, miss_rate: float, seed: int) -> tuple[float, float]:
    """Interval of the mean over keywords: minutes are drawn again and thresholds chosen again."""
    minutes = len(swept.counts.events)
    if minutes < 2:
        return np.nan, np.nan
    columns = np.concatenate([part.reshape(minutes, -1) for part in swept.counts], axis=1)
    means, _ = resampled_means(columns, np.arange(minutes), RESAMPLES, seed)
    ends = np.cumsum([part[0].size for part in swept.counts])
    drawn = Counts(
        *(
            part.reshape(-1, *whole.shape[1:])
            for part, whole in zip(np.split(means, ends[:-1], axis=1), swept.counts, strict=True)
        )
    )
    rates, _ = _fewest(drawn, miss_rate)
    tail = tail_probability(minutes)
    low, high = np.quantile(rates.mean(axis=1), [tail, 1 - tail], method="nearest").tolist()
    return low, high if np.isfinite(high) else np.nan


def _thresholds(scores: Floats, owner: Integers, keyword: Integers) -> Floats:
    """Thresholds (K, Q), rising: the largest score within each event, and some of the scores below them all.

    The lower ones are for events that a false alarm just before silences: at the lowest the detector always fires.
    """
    peaks = scores.min(axis=0)[keyword]
    frame, column = np.nonzero(owner != _NONE)
    np.maximum.at(peaks, owner[frame, column], scores[frame, column])
    columns = min(THRESHOLDS, int(np.bincount(keyword).max()))
    rows = []
    for one in range(scores.shape[1]):
        own = np.sort(peaks[keyword == one])
        ranks = np.linspace(0, len(own) - 1, columns).round().astype(np.int64)
        below = scores[scores[:, one] <= own[0], one]
        rows.append(
            np.concatenate([np.quantile(below, np.linspace(0, 1, LOWER), method="nearest"), own[ranks]])
        )
    return np.stack(rows)
