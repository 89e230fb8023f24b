"""An audio file of any length as mono samples, read and resampled in blocks, so that an hour takes 115 MB at 16 kHz."""

import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import resample_poly

from kd_lightning.frontend import mp3

BLOCK_SECONDS = 60

Samples = npt.NDArray[np.int16]


def read_mono(path: Path, sample_rate: int) -> Samples:
    """Read a file: wav, flac, ogg, mp3 and what else libsndfile reads, of any rate and number of channels.

    Channels are averaged. Blocks overlap by what the resampling filter hears, so where one ends changes nothing.

    Args:
        path: the file.
        sample_rate: of the samples, in Hz.

    Returns:
        (T,) int16, T at least 1.

    Raises:
        ValueError: the file is empty, truncated, not audio or holds something else than finite numbers.
        OSError: it cannot be opened.
    """
    try:
        with open_audio(path, path.stat().st_size) as file:
            blocks = list(_resampled(file, sample_rate))
    except soundfile.SoundFileError as error:
        raise ValueError(f"not readable as audio: {error}") from error
    samples = np.concatenate(blocks)
    if not len(samples):
        raise ValueError("there are no samples in it")
    return samples


def open_audio(path: Path, size: int) -> soundfile.SoundFile:
    """Open a file whose length is known: that of a wav is checked, and that of an mp3 counted where it does not say it.

    Args:
        path: the file.
        size: of the file, in bytes.

    Raises:
        ValueError: the file is empty or a truncated wav.
        soundfile.SoundFileError: it is not audio.
    """
    if size == 0:
        raise ValueError("the file is empty")
    with path.open("rb") as file:
        header = file.read(8)
    # libsndfile plays what is left of a truncated wav without a word.
    length = int.from_bytes(header[4:], "little") + 8
    # Writers that stream put 0 or the largest number there; the pad byte at the end may be missing.
    if header[:4] == b"RIFF" and length < 2**32 and length > size + 1:
        raise ValueError(f"truncated: {size} of {length} bytes")
    opened = soundfile.SoundFile(path)
    if opened.format != "MP3" or (counted := mp3.counted(path.read_bytes())) is None:
        return opened
    opened.close()
    return soundfile.SoundFile(io.BytesIO(counted))


def _resampled(file: soundfile.SoundFile, sample_rate: int) -> Iterator[Samples]:
    divisor = math.gcd(file.samplerate, sample_rate)
    up, down = sample_rate // divisor, file.samplerate // divisor
    # Blocks and margins of whole periods of the filter, which hears 10 * max(up, down) / up samples to either side.
    margin = down * math.ceil((10 * max(up, down) / up + 1) / down)
    block = down * (BLOCK_SECONDS * divisor)
    held, margin_before, frames = np.empty(0, np.float32), 0, 0
    while True:
        read = file.read(block, dtype="float32", always_2d=True)
        if not np.isfinite(read).all():
            raise ValueError("a sample is not a finite number")
        frames += len(read)
        held = np.concatenate([held, read.mean(axis=1)])
        resampled = resample_poly(held, up, down)
        last = len(read) < block
        end = len(resampled) if last else (len(held) - margin) // down * up
        kept = resampled[margin_before // down * up : end]
        yield np.clip(np.rint(kept * 32768), -32768, 32767).astype(np.int16)
        if last:
            break
        held, margin_before = held[-2 * margin :], margin
    if frames < file.frames:
        raise ValueError(f"truncated: {frames} of {file.frames} samples")
