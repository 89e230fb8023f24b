"""What happens to speech between the mouth and the file: a room, a microphone's tilt, noise.

Everything is NumPy on float32 and a pure function of its arguments; randomness comes from the generator
that is handed in.
"""

from typing import Literal, get_args

import numpy as np
from scipy import fft

SAMPLE_RATE = 16_000
NoiseKind = Literal["white", "pink", "brown", "hum", "babble", "traffic"]
NOISE_KINDS: tuple[NoiseKind, ...] = get_args(NoiseKind)

_FRAME = SAMPLE_RATE // 50  # 20 ms
_TALKERS = 6


def active_level(speech: np.ndarray, range_db: float = 30.0) -> float:
    """Root mean square of the speech itself, without the pauses.

    Args:
        speech: (T,) at 16 kHz.
        range_db: a frame of 20 ms is active when it is at most this far below the loudest one, dB.

    Returns:
        The level, linear; 0 for silence. (A simplification of ITU-T P.56.)
    """
    padded = np.pad(speech, (0, -len(speech) % _FRAME))
    energy = np.square(padded.reshape(-1, _FRAME)).mean(axis=1)
    active = energy >= energy.max() * 10 ** (-range_db / 10)
    return float(np.sqrt(energy[active].mean()))


def mix(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add noise at a signal-to-noise ratio against the active speech level.

    Args:
        speech: (T,) at 16 kHz.
        noise: (T,), of any level but silence.
        snr_db: ratio of the active speech level to the noise's root mean square over the whole clip, dB.

    Returns:
        (T,) speech, unscaled, plus the scaled noise.
    """
    level = np.sqrt(np.square(noise).mean())
    return speech + noise * np.float32(active_level(speech) / level / 10 ** (snr_db / 20))


def room_response(rng: np.random.Generator, decay_seconds: float, tail_db: float) -> np.ndarray:
    """A small room's impulse response: the direct sound, then noise that decays exponentially (Polack 1988).

    Args:
        rng: draws the tail.
        decay_seconds: time in which the tail falls by 60 dB (RT60).
        tail_db: energy of the tail relative to the direct sound, dB.

    Returns:
        (R,) float32 at 16 kHz, R = decay_seconds long; its first sample, the direct sound, is 1.
    """
    samples = max(2, round(decay_seconds * SAMPLE_RATE))
    response = rng.standard_normal(samples, dtype=np.float32)
    response *= np.exp(np.linspace(0, -3 * np.log(10), samples, dtype=np.float32))
    response[0] = 0
    response *= 10 ** (tail_db / 20) / np.sqrt(np.square(response).sum())
    response[0] = 1
    return response


def tilt_gains(frequencies: np.ndarray, db_per_octave: float) -> np.ndarray:
    """Gains of a spectral tilt around 1 kHz, flat below 100 Hz.

    Args:
        frequencies: (F,) Hz.
        db_per_octave: positive is brighter.

    Returns:
        (F,) float32 linear gains; 1 at 1 kHz.
    """
    octaves = np.log2(np.maximum(frequencies, 100) / 1000)
    return (10 ** (octaves * db_per_octave / 20)).astype(np.float32)


def noise(kind: NoiseKind, samples: int, rng: np.random.Generator, talk: np.ndarray) -> np.ndarray:
    """One realisation of a kind of noise.

    Args:
        kind: white, pink, brown; hum (mains and harmonics); babble (six talkers); traffic (swelling brown).
        samples: length at 16 kHz.
        rng: every draw comes from it.
        talk: (S,) running speech at 16 kHz, S at least 1, from which babble is laid together.

    Returns:
        (samples,) float32 with a root mean square of 1.
    """
    if kind == "hum":
        wave = _hum(samples, rng)
    elif kind == "babble":
        wave = _babble(samples, rng, talk)
    elif kind == "traffic":
        # The swell has the spectrum of brown noise below 3 Hz and moves the level by some 6 dB.
        wave = _coloured(samples, rng, 2.0) * 10 ** (6 / 20 * _coloured(samples, rng, 2.0, highest=3.0))
    else:
        wave = _coloured(samples, rng, {"white": 0.0, "pink": 1.0, "brown": 2.0}[kind])
    return (wave / np.sqrt(np.square(wave).mean())).astype(np.float32)


def _coloured(
    samples: int, rng: np.random.Generator, exponent: float, highest: float = SAMPLE_RATE / 2
) -> np.ndarray:
    """Noise whose power falls with frequency ** exponent; flat below 20 Hz or highest / 3. RMS 1."""
    frequencies = fft.rfftfreq(samples, 1 / SAMPLE_RATE)
    lowest = min(20.0, highest / 3)
    gains = np.maximum(frequencies, lowest) ** (-exponent / 2) * (frequencies <= highest)
    spectrum = fft.rfft(rng.standard_normal(samples, dtype=np.float32)) * gains.astype(np.float32)
    wave = fft.irfft(spectrum, samples)
    return wave / np.sqrt(np.square(wave).mean())


def _hum(samples: int, rng: np.random.Generator) -> np.ndarray:
    mains = rng.choice([50.0, 60.0])
    period = (
        np.arange(SAMPLE_RATE // 10) / SAMPLE_RATE
    )  # a whole number of periods of either mains: it repeats
    wave = np.zeros(len(period))
    for harmonic in range(1, 25):
        gain = rng.uniform(0.2, 1.0) / harmonic**0.7
        wave += gain * np.sin(2 * np.pi * mains * harmonic * period + rng.uniform(0, 2 * np.pi))
    return np.resize(wave, samples) + 0.05 * _coloured(samples, rng, 1.0)


def _babble(samples: int, rng: np.random.Generator, talk: np.ndarray) -> np.ndarray:
    wave = np.zeros(samples, np.float32)
    for start in rng.integers(len(talk), size=_TALKERS):
        voice = np.take(talk, np.arange(start, start + samples), mode="wrap")
        wave += voice * np.float32(rng.uniform(0.5, 1.0))
    return wave
