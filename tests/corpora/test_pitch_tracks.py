"""Fundamental frequencies of a corpus: in the order of its records, and without all of it in memory."""

import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kd_lightning.corpora import pitch_tracks as module
from kd_lightning.corpora.pitch_tracks import pitch_tracks
from kd_lightning.frontend.pitch import fundamental_frequency

RATE = 16000
HERTZ = (110.0, 220.0, 0.0, 330.0)


def prepared(folder: Path, waveforms: list[np.ndarray]) -> SimpleNamespace:
    """Recordings as a prepared corpus holds them: int16, one after the other."""
    samples = [len(waveform) for waveform in waveforms]
    records = np.zeros(len(samples), [("start", "<i8"), ("samples", "<i8")])
    records["samples"], records["start"] = samples, np.cumsum([0, *samples[:-1]])
    audio = np.concatenate([np.round(32767 * waveform).astype(np.int16) for waveform in waveforms])
    return SimpleNamespace(folder=folder, records=records, audio=audio, sample_rate=RATE)


def tone(hertz: float, seconds: float) -> np.ndarray:
    """Five harmonics."""
    time = np.arange(round(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * hertz * number * time) / 6 for number in range(1, 6))


def test_every_record_has_the_track_of_its_own_recording(tmp_path):
    waveforms = [tone(hertz, 0.3 + 0.1 * number) for number, hertz in enumerate(HERTZ)]
    corpus = prepared(tmp_path, waveforms)
    tracks = pitch_tracks(corpus)
    for number, (hertz, record) in enumerate(zip(HERTZ, corpus.records, strict=True)):
        track = tracks[number]
        assert len(track) == int(record["samples"]) // (RATE // 200) + 1
        own = corpus.audio[record["start"] : record["start"] + record["samples"]] / 32768
        np.testing.assert_array_equal(track, fundamental_frequency(own, RATE).astype(np.float32))
        voiced = track[track > 0]
        assert len(voiced) == 0 if hertz == 0 else np.median(voiced) == pytest.approx(hertz, rel=0.01)
    assert np.array_equal(pitch_tracks(corpus)[3], tracks[3])  # found before


def test_no_more_recordings_are_in_memory_than_threads_work_on(tmp_path, monkeypatch):
    """A corpus of 50 hours is 35 GB as float64, and is read faster than its pitch is found."""
    count, lock = {"now": 0, "most": 0}, threading.Lock()

    class Audio(np.ndarray):
        def __truediv__(self, other):
            with lock:
                count["now"] += 1
                count["most"] = max(count["most"], count["now"])
            return np.asarray(self) / other

    def slow(waveform, rate):
        time.sleep(0.001)
        with lock:
            count["now"] -= 1
        return np.zeros(1)

    monkeypatch.setattr(module, "fundamental_frequency", slow)
    corpus = prepared(tmp_path, [np.zeros(4)] * 300)
    corpus.audio = corpus.audio.view(Audio)
    pitch_tracks(corpus)
    assert 1 <= count["most"] <= (os.cpu_count() or 1)
    assert count["now"] == 0
