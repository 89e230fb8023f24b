"""Audio files as networks hear them."""

import math
from pathlib import Path

import numpy as np
import soundfile


def mono(path: Path, rate: int) -> np.ndarray:
    """The samples of an audio file at a rate in Hz, its channels averaged."""
    try:
        samples, found = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise SystemExit(f"{path}: not readable as audio: {error}") from error
    if not len(samples) or not np.isfinite(samples).all():
        raise SystemExit(f"{path}: no samples in it, or some that are no numbers")
    return resampled(samples.mean(axis=1), found, rate)


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples at another rate, by a windowed sinc of ten zero crossings to either side."""
    up, down = wanted // math.gcd(rate, wanted), rate // math.gcd(rate, wanted)
    if up == down:
        return samples
    half = 10 * max(up, down)
    taps = np.sinc(np.arange(-half, half + 1) / max(up, down)) * np.kaiser(2 * half + 1, 5.0)
    taps = np.append(taps * up / taps.sum(), 0)  # the last is for what lies outside
    reach = half // up + 1
    padded = np.pad(samples, reach)
    at = np.arange(-(-len(samples) * up // down)) * down
    made = np.zeros(len(at), np.float32)
    for offset in range(-reach, reach + 1):
        source = at // up + offset
        tap = at - source * up + half
        made += padded[source + reach] * taps[np.where((tap >= 0) & (tap <= 2 * half), tap, -1)]
    return made
