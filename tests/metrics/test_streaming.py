"""The detector against a loop over thresholds, closed forms, and detections placed by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kd_lightning.metrics.sliding import sliding_posteriors
from kd_lightning.metrics.streaming import (
    Counts,
    Detector,
    Events,
    Sweep,
    det_curve,
    operating_point,
    smooth,
    sweep,
)
from kd_lightning.models.waveform_model import KeywordOutput

HOP = 0.1
DETECTOR = Detector(hop=HOP, refractory=1.0, tolerance=1.0)


def times_of(frames: int) -> np.ndarray:
    return np.arange(frames) * HOP + 1.0


def events_every(seconds: float, count: int, keywords: int = 1, length: float = 0.45) -> Events:
    """Words of each keyword in turn, ``seconds`` apart, the first two seconds in."""
    onset = 2.03 + seconds * np.arange(count)
    return Events(np.arange(count) % keywords, onset, onset + length)


def one_threshold_after_the_other(
    scores: np.ndarray, times: np.ndarray, events: Events, thresholds: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False alarms (K, Q), misses (K, Q) and delays (E, Q), by a detector that knows one keyword and one threshold."""
    keywords, columns = thresholds.shape
    alarms, misses = np.zeros((2, keywords, columns), int)
    delays = np.full((len(events.onset), columns), np.nan)
    for keyword in range(keywords):
        mine = [event for event in range(len(events.onset)) if events.keyword[event] == keyword]
        for column in range(columns):
            silent_until = -1
            for frame, time in enumerate(times):
                if scores[frame, keyword] < thresholds[keyword, column] or frame < silent_until:
                    continue
                silent_until = frame + round(DETECTOR.refractory / HOP)
                begun = [event for event in mine if events.onset[event] <= time]
                last = max(begun, key=lambda event: events.onset[event], default=None)
                if last is None or time > events.offset[last] + DETECTOR.tolerance:
                    alarms[keyword, column] += 1
                elif np.isnan(delays[last, column]):
                    delays[last, column] = time - events.offset[last]
            misses[keyword, column] = sum(np.isnan(delays[event, column]) for event in mine)
    return alarms, misses, delays


def test_all_thresholds_at_once_equal_one_after_the_other():
    rng = np.random.default_rng(0)
    scores = smooth(rng.beta(0.3, 1.0, (1900, 3)), 3)
    events = Events(
        rng.integers(0, 3, 60), onset := np.sort(rng.uniform(1, 185, 60)), onset + rng.uniform(0.2, 0.6, 60)
    )
    swept = sweep(scores, times_of(1900), events, DETECTOR)
    assert (np.diff(swept.thresholds) >= 0).all()
    alarms, misses, delays = one_threshold_after_the_other(scores, times_of(1900), events, swept.thresholds)
    together = swept.counts.together()
    np.testing.assert_array_equal(together.false_alarms, alarms)
    np.testing.assert_array_equal(together.misses, misses)
    np.testing.assert_allclose(swept.delay, delays)
    assert len(swept.counts.events) == 4  # minutes
    assert alarms.max() > 50
    assert misses.min(axis=1).sum() > 0 or misses.max() > 10


def test_a_perfect_detector_has_no_false_alarm_and_the_delay_of_its_first_frame():
    events, times = events_every(5.0, 60), times_of(3100)
    scores = np.zeros((3100, 1))
    late = times[:, None] - events.offset[None, :]
    scores[((late >= 0.3) & (late <= 0.8)).any(axis=1)] = 1.0
    swept = sweep(scores, times, events, DETECTOR)
    first = np.array([times[np.flatnonzero(times >= end + 0.3)[0]] - end for end in events.offset])
    for rate in (0.02, 0.05, 0.1):
        point = operating_point(swept, rate)
        assert point.false_alarms_per_hour == 0.0
        assert point.interval == (0.0, 0.0)
        assert point.delay == pytest.approx(np.percentile(first, [50, 95]))
    np.testing.assert_array_equal(det_curve(swept)[1], 0.0)


def test_false_alarms_are_counted_where_the_keyword_is_not_said():
    events, times = events_every(10.0, 100), times_of(10_200)
    scores = np.zeros((10_200, 1))
    scores[np.searchsorted(times, events.offset + 0.2)] = 0.6
    scores[np.searchsorted(times, events.offset + 0.9)] = 0.6  # within the event, silenced by the first
    scores[np.searchsorted(times, events.offset[:7] + 4.0)] = 0.9
    point = operating_point(sweep(scores, times, events, DETECTOR), 0.05)
    inside = sum(((times >= on) & (times <= off + 1.0)).sum() for on, off in zip(*events[1:], strict=True))
    hours = (len(times) - inside) * HOP / 3600
    assert point.false_alarms_per_hour == pytest.approx(7 / hours)
    assert point.thresholds[0] == 0.6
    assert point.delay[0] == pytest.approx(0.2, abs=HOP)


def test_a_second_detection_of_a_word_is_neither_a_hit_nor_a_false_alarm():
    events = Events(np.array([0]), np.array([2.0]), np.array([4.0]))
    scores = np.zeros((100, 1))
    scores[np.searchsorted(times_of(100), [2.45, 3.75, 4.95])] = 1.0
    counts = sweep(scores, times_of(100), events, DETECTOR).counts.together()
    assert (counts.false_alarms[0, -1], counts.misses[0, -1]) == (0, 0)


def test_a_detector_that_always_fires_does_so_once_a_refractory_period():
    times = times_of(9000)
    events = Events(np.array([0]), np.array([800.0]), np.array([800.5]))
    swept = sweep(np.ones((9000, 1)), times, events, Detector(hop=HOP, refractory=2.0), np.array([[1.0]]))
    counts = swept.counts.together()
    assert counts.false_alarms.item() == pytest.approx(450, abs=2)
    assert counts.hours.item() == pytest.approx(0.25, abs=1e-3)


def test_chance_fires_at_the_rate_of_a_renewal_process():
    # After R frames of silence the wait for a frame of probability p is geometric: 1 / (R - 1 + 1 / p) a frame.
    rng, chance, frames = np.random.default_rng(0), 0.03, 36_000
    events = Events(np.array([0]), np.array([1.0]), np.array([1.1]))
    thresholds = np.array([[1 - chance]])
    swept = sweep(rng.random((frames, 1)), times_of(frames), events, DETECTOR, thresholds)
    counts = swept.counts.together()
    an_hour = 36_000 / (10 - 1 + 1 / chance)
    assert counts.false_alarms.item() / counts.hours.item() == pytest.approx(an_hour, rel=0.08)


def test_chance_scores_detect_no_better_than_their_time_in_events():
    # A detector that always fires hits every word; one that fires at random at times without words misses them.
    rng = np.random.default_rng(1)
    events = events_every(6.0, 200)
    scores = rng.random((12_200, 1))
    misses, alarms = det_curve(sweep(scores, times_of(12_200), events, DETECTOR))
    half = alarms[np.searchsorted(misses, 0.5)]
    # Missing half of the words of n independent frames takes p = 1 - 0.5 ** (1 / n).
    frames = np.mean([((times_of(12_200) >= on) & (times_of(12_200) <= off + 1)).sum() for on, off in zip(
        *events[1:], strict=True
    )])  # fmt: skip
    chance = 1 - 0.5 ** (1 / frames)
    assert half == pytest.approx(36_000 / (10 - 1 + 1 / chance), rel=0.25)


def test_smoothing_is_the_mean_of_the_last_frames():
    posteriors = np.random.default_rng(0).random((50, 2))
    by_hand = [posteriors[max(0, frame - 3) : frame + 1].mean(axis=0) for frame in range(50)]
    np.testing.assert_allclose(smooth(posteriors, 4), by_hand)
    np.testing.assert_array_equal(smooth(posteriors, 1), posteriors)
    np.testing.assert_allclose(smooth(posteriors[:2], 4)[1], posteriors[:2].mean(axis=0))


def test_rates_are_means_over_keywords_each_at_its_own_threshold():
    rng = np.random.default_rng(3)
    events, times = events_every(4.0, 240, keywords=2), times_of(9800)
    scores = rng.random((9800, 2)) ** 8 * [1.0, 0.1]  # the second keyword is ten times as quiet
    for event, end in enumerate(events.offset):
        frame, keyword = np.searchsorted(times, end), events.keyword[event]
        scores[frame, keyword] += [0.6, 0.06][keyword]
    both = operating_point(sweep(scores, times, events, DETECTOR), 0.1)
    for keyword in range(2):
        mine = events.keyword == keyword
        alone = Events(np.zeros(120, int), events.onset[mine], events.offset[mine])
        single = operating_point(sweep(scores[:, [keyword]], times, alone, DETECTOR), 0.1)
        assert single.false_alarms_per_hour == pytest.approx(both.by_keyword[keyword])
    assert both.false_alarms_per_hour == pytest.approx(both.by_keyword.mean())
    low, high = both.interval
    assert low < both.false_alarms_per_hour < high


def by_count(misses: list[int], false_alarms: list[int], events: int) -> Sweep:
    """One keyword in one minute of an hour's weight."""
    columns = len(misses)
    counts = Counts(np.array([[misses]]), np.array([[false_alarms]]), np.array([[events]]), np.array([[1.0]]))
    return Sweep(
        np.linspace(0.1, 0.9, columns)[None], counts, np.zeros(events, int), np.zeros((events, columns))
    )


def test_an_operating_point_is_the_best_threshold_that_exists():
    swept = by_count(misses=[0, 4, 5, 6, 100], false_alarms=[90, 30, 20, 10, 0], events=100)
    point = operating_point(swept, 0.05)
    assert point.false_alarms_per_hour == 20
    assert point.thresholds[0] == pytest.approx(0.5)
    assert np.isnan(point.interval).all()  # one minute
    assert operating_point(swept, 0.02).false_alarms_per_hour == 90


def test_a_rate_that_is_not_reached_or_rests_on_too_few_events_is_not_given():
    point = operating_point(by_count([3, 5], [8, 2], 100), 0.02)
    assert np.isnan([point.false_alarms_per_hour, *point.interval, *point.delay, point.thresholds[0]]).all()
    few = by_count([0, 1], [8, 2], 49)
    assert np.isnan(operating_point(few, 0.02).false_alarms_per_hour)
    assert operating_point(few, 0.05).false_alarms_per_hour == 2


def test_what_cannot_be_swept_is_refused():
    with pytest.raises(ValueError, match=r"keywords \[1\] are never said"):
        sweep(np.zeros((50, 2)), times_of(50), events_every(1.0, 2), DETECTOR)
    with pytest.raises(ValueError, match="refractory=0"):
        Detector(refractory=0).check()
    with pytest.raises(ValueError, match="hop=nan"):
        Detector(hop=float("nan")).check()


class Loudness(nn.Module):
    """Two classes: the level of the window's halves."""

    def forward(self, waveform: Tensor) -> KeywordOutput:
        return KeywordOutput(waveform.unflatten(1, (2, -1)).abs().mean(dim=2))


@pytest.mark.parametrize("pieces", [[1000], [137, 363, 500], [1] * 1000])
def test_the_network_hears_every_window_however_the_audio_is_cut(pieces):
    audio = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    cut = np.split(audio, np.cumsum(pieces)[:-1])
    posteriors = sliding_posteriors(Loudness(), cut, window=100, hop=30, batch_size=7)
    starts = range(0, 901, 30)
    windows = torch.from_numpy(np.stack([audio[start : start + 100] for start in starts]))
    np.testing.assert_allclose(posteriors, Loudness()(windows).logits.softmax(dim=1), rtol=1e-5)


def test_audio_shorter_than_a_window_and_hops_that_leave_audio_out_are_refused():
    with pytest.raises(ValueError, match="shorter than one window"):
        sliding_posteriors(Loudness(), [np.zeros(99, np.float32)], 100, 10)
    with pytest.raises(ValueError, match="hop of 101"):
        sliding_posteriors(Loudness(), [np.zeros(500, np.float32)], 100, 101)
