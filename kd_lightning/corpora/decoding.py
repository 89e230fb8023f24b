"""One audio file to mono int16 at a sample rate, by soundfile, which reads wav, flac, ogg and mp3.

Stereo is mixed down and other sample rates are resampled. An unreadable file raises with the reason.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
from lhotse import AudioSource, Recording
from scipy.signal import resample_poly

from kd_lightning.frontend.audio_file import open_audio

SAMPLE_RATE = 16000
CLIP_SAMPLES = 16000

Samples = npt.NDArray[np.int16]

# Peaks above this were cut off: the largest values of 16 bits.
_FULL_SCALE = 1 - 2 / 32768
# A peak of speech seldom stays there for so many samples, and a clipped word does so many times.
_FLAT_SAMPLES, _FLAT_SHARE = 3, 1e-3
# -50 dB of full scale, where speech peaks at -30 to 0.
_SILENT_PEAK = 10 ** (-50 / 20)


class Decoded(NamedTuple):
    """What a file holds: ``samples`` (T,) int16, mono at the rate asked for, and lhotse's record of the file."""

    samples: Samples
    recording: Recording


def decode(
    path: Path,
    id: str,
    size: int,
    sample_rate: int = SAMPLE_RATE,
    require: Callable[[npt.NDArray[np.float32]], None] | None = None,
) -> Decoded:
    """Read a file whole.

    Args:
        path: the file.
        id: names the recording.
        size: of the file, in bytes.
        sample_rate: of the samples, in Hz, whatever that of the file.
        require: looks at the file's own samples (T,) in [-1, 1] and raises ValueError for those not wanted.

    Raises:
        ValueError: the file is empty, truncated, not audio or holds something else than finite numbers, or is not what
            is required.
    """
    try:
        with open_audio(path, size) as file:
            rate, frames, channels = file.samplerate, file.frames, file.channels
            samples = file.read(dtype="float32", always_2d=True)
    except soundfile.SoundFileError as error:
        raise ValueError(f"not readable as audio: {error}") from error
    if frames == 0:
        raise ValueError("there are no samples in it")
    if len(samples) < frames:
        raise ValueError(f"truncated: {len(samples)} of {frames} samples")
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise ValueError("a sample is not a finite number")
    if require is not None:
        require(mono)
    if rate != sample_rate:
        divisor = math.gcd(rate, sample_rate)
        mono = resample_poly(mono, sample_rate // divisor, rate // divisor)
    recording = Recording(
        id=id,
        sources=[AudioSource(type="file", channels=list(range(channels)), source=str(path))],
        sampling_rate=rate,
        num_samples=frames,
        duration=frames / rate,
    )
    return Decoded(np.clip(np.rint(mono * 32768), -32768, 32767).astype(np.int16), recording)


def require_clean(samples: npt.NDArray[np.float32]) -> None:
    """Refuse a recording that nobody should learn to speak from.

    Args:
        samples: (T,) float32 in [-1, 1], as recorded.

    Raises:
        ValueError: it is silent, or clipped: stays at full scale, three samples or longer, for more than a thousandth
            of its length.
    """
    level = np.abs(samples)
    if (peak := float(level.max())) < _SILENT_PEAK:
        raise ValueError(f"silent: its peak is {peak:.5f} of full scale")
    edges = np.flatnonzero(np.diff(level >= _FULL_SCALE, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    share = float(runs[runs >= _FLAT_SAMPLES].sum()) / len(samples)
    if share > _FLAT_SHARE:
        raise ValueError(f"clipped: {100 * share:.1f} % of its samples stay at full scale")


def clip_start(samples: Samples) -> int:
    """First sample of a clip's second: in a longer clip the second that holds most energy, else 0."""
    if len(samples) <= CLIP_SAMPLES:
        return 0
    energy = np.concatenate([[0], np.cumsum(np.square(samples, dtype=np.int64))])
    return int(np.argmax(energy[CLIP_SAMPLES:] - energy[:-CLIP_SAMPLES]))


def one_second(samples: Samples) -> Samples:
    """Exactly 16,000 samples: the loudest second of a longer clip; a shorter one is followed by zeros."""
    start = clip_start(samples)
    kept = samples[start : start + CLIP_SAMPLES]
    if len(kept) == CLIP_SAMPLES:
        return kept
    return np.pad(kept, (0, CLIP_SAMPLES - len(kept)))
