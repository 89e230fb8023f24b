"""Files of every kind, rate and length as samples: the same as read whole."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from kd_lightning.frontend import audio_file
from kd_lightning.frontend.audio_file import read_mono


def tone(rate: int, seconds: float, hertz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * math.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_tone_is_the_same_tone_in_every_file(tmp_path: Path, ending: str, rate: int):
    path = tmp_path / f"tone.{ending}"
    soundfile.write(path, np.stack([tone(rate, 1.0), 0.5 * tone(rate, 1.0)], axis=1), rate)
    samples = read_mono(path, 16000) / 32768
    assert len(samples) == pytest.approx(16000, abs=1600)  # mp3 adds silence
    spectrum = np.abs(np.fft.rfft(samples[4000:12000]))
    assert spectrum.argmax() == 220  # of 2 Hz each
    # The mean of both channels.
    assert np.abs(samples[4000:12000]).max() == pytest.approx(0.375, abs=0.05)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 11027])
def test_blocks_leave_no_trace(tmp_path: Path, rate: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(audio_file, "BLOCK_SECONDS", 2)
    path = tmp_path / "noise.wav"
    for seconds in (0.001, 0.5, 2.0, 4.0, 6.37):
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, max(1, round(rate * seconds)))
        soundfile.write(path, noise, rate, "FLOAT")
        divisor = math.gcd(rate, 16000)
        whole = resample_poly(noise.astype(np.float32), 16000 // divisor, rate // divisor)
        samples = read_mono(path, 16000)
        assert len(samples) == len(whole)
        np.testing.assert_allclose(samples, whole * 32768, atol=0.51)


def test_loud_samples_are_clipped_not_wrapped(tmp_path: Path):
    soundfile.write(tmp_path / "loud.wav", np.array([2.0, -2.0, 0.0]), 16000, "FLOAT")
    assert read_mono(tmp_path / "loud.wav", 16000).tolist() == [32767, -32768, 0]


def test_what_is_no_audio_says_why(tmp_path: Path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, tone(16000, 1.0), 16000)
    whole = path.read_bytes()
    cases = {
        b"": "the file is empty",
        b"hello": "not readable as audio",
        whole[:20000]: "truncated: 20000 of 32044 bytes",
    }
    for content, reason in cases.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=reason):
            read_mono(path, 16000)
    soundfile.write(path, np.empty(0), 16000)
    with pytest.raises(ValueError, match="no samples"):
        read_mono(path, 16000)
    soundfile.write(path, np.array([0.0, np.nan]), 16000, "FLOAT")
    with pytest.raises(ValueError, match="not a finite number"):
        read_mono(path, 16000)
