"""Griffin-Lim (Perraudin et al. 2013): a vocoder that has nothing to learn, for mels without another one."""

from typing import Any

import numpy as np

ITERATIONS, MOMENTUM = 32, 0.99


def griffin_lim(mel: np.ndarray, told: dict[str, Any]) -> np.ndarray:
    """The waveform of a mel (bins, frames); ``told`` has the settings of the mel."""
    hop, fft = told["hop_length"], told["fft_length"]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(told["window_length"]) / told["window_length"])
    before = (fft - len(window)) // 2
    window = np.pad(window, (before, fft - len(window) - before))
    sides = -(-fft // (2 * hop))  # frames of silence around
    amplitude = np.maximum(np.exp(mel.T) @ np.linalg.pinv(mel_filters(told).T), 0)
    amplitude = np.pad(amplitude, ((sides, sides), (0, 0)))
    squares = overlapped(np.tile(window**2, (len(amplitude), 1)), hop)[fft // 2 : -fft // 2]

    def samples(spectrum: np.ndarray) -> np.ndarray:
        return overlapped(np.fft.irfft(spectrum) * window, hop)[fft // 2 : -fft // 2] / squares

    phases, last = np.ones_like(amplitude, complex), np.zeros_like(amplitude, complex)
    for _ in range(ITERATIONS):
        heard = np.pad(samples(amplitude * phases), fft // 2, mode="reflect")
        spectrum = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(heard, fft)[::hop] * window)
        phases, last = spectrum - MOMENTUM / (1 + MOMENTUM) * last, spectrum
        phases /= np.abs(phases) + 1e-16
    start = sides * hop - hop // 2
    return samples(amplitude * phases)[start : start + mel.shape[1] * hop].astype(np.float32)


def overlapped(pieces: np.ndarray, hop: int) -> np.ndarray:
    """Add pieces (N, length), each a hop after the one before."""
    total = np.zeros((len(pieces) - 1) * hop + pieces.shape[1])
    for number, piece in enumerate(pieces):
        total[number * hop : number * hop + len(piece)] += piece
    return total


def mel_filters(told: dict[str, Any]) -> np.ndarray:
    """Triangles (bins, fft_length / 2 + 1) of Slaney's scale, of equal area: the mel's bands."""
    low, high = np.interp([told["low_hz"], told["high_hz"]], *SCALE)
    edges = np.interp(np.linspace(low, high, told["bins"] + 2), *SCALE[::-1])
    hertz = np.linspace(0, told["sample_rate"] / 2, told["fft_length"] // 2 + 1)
    rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])[:, None]


# Hz and mels, finely: linear up to 1 kHz, logarithmic above.
_MELS = np.linspace(0, 80, 80001)
SCALE = (np.where(_MELS < 15, _MELS * 200 / 3, 1000 * np.exp((_MELS - 15) * np.log(6.4) / 27)), _MELS)
