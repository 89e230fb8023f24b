"""Fundamental frequency: how high a voice speaks."""

import numpy as np
import pyworld
from numpy.typing import ArrayLike, NDArray

PERIOD = 0.005  # seconds between two values

Floats = NDArray[np.float64]


def fundamental_frequency(waveform: ArrayLike, sample_rate: int) -> Floats:
    """F0 every 5 ms, by WORLD's DIO and StoneMask, between 71 and 800 Hz.

    Harvest finds a few more voiced frames and takes 17 times as long (0.3 s for 2 s of speech).

    Args:
        waveform: (T,)
        sample_rate: in Hz.

    Returns:
        (N,) Hz, 0 where there is no voice; N = T / (5 ms) + 1, rounded down.
    """
    samples = np.ascontiguousarray(waveform, dtype=np.float64)
    coarse, times = pyworld.dio(samples, sample_rate, frame_period=1000 * PERIOD)
    refined: Floats = pyworld.stonemask(samples, coarse, times, sample_rate)
    return refined
