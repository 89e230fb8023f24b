"""From dry speech to a recording: a room, a microphone's tilt, a level and noise, drawn from ranges."""

from typing import Protocol

import numpy as np
from scipy import fft

from kd_lightning.corpora.acoustics import (
    NOISE_KINDS,
    SAMPLE_RATE,
    active_level,
    mix,
    noise,
    room_response,
    tilt_gains,
)


class Conditions(Protocol):
    """Ranges of the conditions of an embedded corpus, which documents them."""

    @property
    def snr_db(self) -> tuple[float, float]: ...
    @property
    def clean_share(self) -> float: ...
    @property
    def tail_db(self) -> tuple[float, float]: ...
    @property
    def decay_seconds(self) -> tuple[float, float]: ...
    @property
    def tilt_db(self) -> float: ...


def in_a_room(
    speech: np.ndarray, samples: int, conditions: Conditions, rng: np.random.Generator
) -> np.ndarray:
    """Speech as a microphone in a room hears it.

    Args:
        speech: (S,) dry, at 16 kHz.
        samples: how many to return; speech and room must fit, as the convolution is circular.
        conditions: ranges of the room and the tilt.
        rng: every draw comes from it.

    Returns:
        (samples,) float32; the speech, then its reverberation.
    """
    room = room_response(rng, rng.uniform(*conditions.decay_seconds), rng.uniform(*conditions.tail_db))
    tilt = rng.uniform(-conditions.tilt_db, conditions.tilt_db)
    gains = tilt_gains(fft.rfftfreq(samples, 1 / SAMPLE_RATE), tilt)
    return fft.irfft(fft.rfft(speech, samples) * fft.rfft(room, samples) * gains, samples)


def with_noise(
    clip: np.ndarray, conditions: Conditions, rng: np.random.Generator, talk: np.ndarray
) -> tuple[np.ndarray, float | None]:
    """A clip with noise, or without, at a level of its own.

    Args:
        clip: (T,) speech with pauses, at 16 kHz.
        conditions: range of the signal-to-noise ratio and share of clean clips.
        rng: every draw comes from it.
        talk: (S,) running speech at 16 kHz for babble.

    Returns:
        (T,) float32 in (-1, 1); and its signal-to-noise ratio in dB, None for a clean one.
    """
    level = 10 ** (rng.uniform(-34, -16) / 20) / active_level(clip)
    snr_db = None
    if rng.random() >= conditions.clean_share:
        snr_db = rng.uniform(*conditions.snr_db)
        clip = mix(clip, noise(NOISE_KINDS[rng.integers(len(NOISE_KINDS))], len(clip), rng, talk), snr_db)
    return clip * np.float32(min(level, 0.98 / np.abs(clip).max())), snr_db
