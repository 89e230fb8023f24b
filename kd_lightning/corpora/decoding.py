"""One audio file to 16 kHz mono int16, by soundfile, which reads wav, flac, ogg and mp3.

Stereo is mixed down and other sample rates are resampled. An unreadable file raises with the reason;
libsndfile itself plays what is left of a truncated wav without a word, so the length in its header is checked
here.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
from lhotse import AudioSource, Recording
from scipy.signal import resample_poly

SAMPLE_RATE = 16000
CLIP_SAMPLES = 16000

Samples = npt.NDArray[np.int16]


class Decoded(NamedTuple):
    """What a file holds: ``samples`` (T,) int16, mono at 16 kHz, and lhotse's record of the file."""

    samples: Samples
    recording: Recording


def decode(path: Path, id: str, size: int) -> Decoded:
    """Read a file whole.

    Args:
        path: the file.
        id: names the recording.
        size: of the file, in bytes.

    Raises:
        ValueError: the file is empty, truncated, not audio or holds something else than finite numbers.
    """
    if size == 0:
        raise ValueError("the file is empty")
    _check_riff_length(path, size)
    try:
        with soundfile.SoundFile(path) as file:
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
    if rate != SAMPLE_RATE:
        divisor = math.gcd(rate, SAMPLE_RATE)
        mono = resample_poly(mono, SAMPLE_RATE // divisor, rate // divisor)
    recording = Recording(
        id=id,
        sources=[AudioSource(type="file", channels=list(range(channels)), source=str(path))],
        sampling_rate=rate,
        num_samples=frames,
        duration=frames / rate,
    )
    return Decoded(np.clip(np.rint(mono * 32768), -32768, 32767).astype(np.int16), recording)


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


def _check_riff_length(path: Path, size: int) -> None:
    with path.open("rb") as file:
        header = file.read(8)
    length = int.from_bytes(header[4:], "little") + 8
    # Writers that stream put 0 or the largest number there; the pad byte at the end may be missing.
    if header[:4] == b"RIFF" and length < 2**32 and length > size + 1:
        raise ValueError(f"truncated: {size} of {length} bytes")
