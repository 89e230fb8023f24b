"""One file at any rate; and which recordings nobody should learn to speak from."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from kd_lightning.corpora.decoding import decode, require_clean

TONE = np.sin(2 * np.pi * 220 * np.arange(22050) / 22050)


def read(path: Path, **arguments) -> np.ndarray:
    return decode(path, path.stem, path.stat().st_size, **arguments).samples


def test_a_file_comes_at_the_rate_that_is_asked_for(tmp_path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.5 * TONE, 22050)
    own, _ = soundfile.read(path)
    np.testing.assert_array_equal(read(path, sample_rate=22050), own * 32768)
    np.testing.assert_allclose(
        read(path, sample_rate=24000) / 32768, resample_poly(own, 160, 147), atol=1 / 32768
    )
    assert len(read(path)) == 16000


@pytest.mark.parametrize("gain", [0.004, 0.3, 1.0])
def test_a_tone_of_any_level_is_clean(gain: float) -> None:
    require_clean((gain * TONE).astype(np.float32))


@pytest.mark.parametrize("gain", [0.0, 0.003])
def test_what_peaks_below_50_decibels_is_silent(gain: float) -> None:
    with pytest.raises(ValueError, match=r"^silent: its peak is 0\.00\d+ of full scale"):
        require_clean((gain * TONE).astype(np.float32))


def test_flat_tops_are_clipping(tmp_path) -> None:
    # An arch above 1 lasts as long as |sin| exceeds 1 / 1.1: 1 - 2 asin(1 / 1.1) / pi of the time.
    share = 100 * (1 - 2 * np.arcsin(1 / 1.1) / np.pi)
    path = tmp_path / "loud.wav"
    soundfile.write(path, 1.1 * TONE, 22050)
    with pytest.raises(ValueError, match=r"^clipped: (\S+) % of its samples") as refused:
        read(path, require=require_clean)
    assert float(str(refused.value).split()[1]) == pytest.approx(share, abs=1.5)
    assert len(read(path)) == 16000


def test_single_peaks_at_full_scale_are_not() -> None:
    peaks = (0.5 * TONE).astype(np.float32)
    peaks[::10] = 1.0
    require_clean(peaks)
    peaks[100:103] = -1.0
    require_clean(peaks)
