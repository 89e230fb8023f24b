"""How far synthesised speech is from a recording: mel-cepstral distortion, and a distance of spectra."""

from math import log, sqrt

import numpy as np
import torch
from mel_cepstral_distance import compare_mfccs, get_mfccs
from mel_cepstral_distance.alignment import align_2d_sequences_using_dtw
from numpy.typing import ArrayLike, NDArray

from kd_lightning.losses.spectral import multi_resolution_stft

# Coefficients 1 to 13: the shape of a frame's spectrum. The 0th, its level, is left out.
COEFFICIENTS = 13
# Of fastdtw's search around the path at half the resolution. Wider ones find the same paths between readings of one
# sentence, and are four times as slow (10) or more.
RADIUS = 2


def cepstra(mel: ArrayLike) -> NDArray[np.float64]:
    """Mel-cepstral coefficients 1 to 13 of log-mels, in decibels.

    With L(n) the natural logarithm of the amplitude in mel band n of N, the cosine series L(n) = c_0 + sum c_m
    cos(m (n - 1/2) pi / N) has c_m = 2 / N sum_n L(n) cos(m (n - 1/2) pi / N). Differences of its 10 sqrt(2) / ln 10
    multiples have the length 10 / ln 10 sqrt(2 sum_m (c_m - c'_m)^2): mel-cepstral distortion as usually defined, the
    root mean square over the bands of the distance in dB that these coefficients make. mel-cepstral-distance sums
    log10 of the energy, 2 L / ln 10, over the bands and leaves out 2 / N (Kubichek 1993), so its coefficients are
    multiplied by 10 sqrt(2) / N; its first is c_1.

    Args:
        mel: (bins, frames) natural logarithm of the mel amplitude.

    Returns:
        (13, frames).
    """
    bels = np.asarray(mel, dtype=np.float64).T * (2 / log(10))
    coefficients: NDArray[np.float64] = get_mfccs(bels)[:COEFFICIENTS] * (10 * sqrt(2) / bels.shape[1])
    return coefficients


def warping_path(reference: ArrayLike, mel: ArrayLike) -> NDArray[np.int64]:
    """Which frames of two readings of a sentence belong together: dynamic time warping of their cepstra.

    Args:
        reference: (bins, frames) natural logarithm of the mel amplitude, at least one frame.
        mel: (bins, frames') of the other reading.

    Returns:
        (K, 2) frame of the one and frame of the other, from both first to both last.
    """
    path: NDArray[np.int64] = align_2d_sequences_using_dtw(cepstra(reference), cepstra(mel), RADIUS)[2]
    return path


def mel_cepstral_distortion(
    reference: ArrayLike, mel: ArrayLike, path: NDArray[np.int64] | None = None
) -> float:
    """Mel-cepstral distortion in dB: the mean over a warping path of the distance of :func:`cepstra`.

    Values of other definitions (other cepstra, more coefficients, no warping) do not compare with these.

    Args:
        reference: (bins, frames) natural logarithm of the mel amplitude of a recording, at least one frame.
        mel: (bins, frames') of its synthesis.
        path: (K, 2) from :func:`warping_path`, if it is known already; frame by frame it is ``[[0, 0], [1, 1], ...]``.
    """
    path = warping_path(reference, mel) if path is None else path
    ours, theirs = cepstra(reference)[:, path[:, 0]], cepstra(mel)[:, path[:, 1]]
    distance, _ = compare_mfccs(ours, theirs, s=0, D=COEFFICIENTS, aligning="pad")
    return float(distance)


def stft_distance(reference: ArrayLike, signal: ArrayLike) -> float:
    """The distance of two waveforms in several spectra: the loss with which vocoders are trained, as a metric.

    :func:`~kd_lightning.losses.spectral.multi_resolution_stft`. It compares the same samples: for copy synthesis.

    Args:
        reference: (T,) recording.
        signal: (T,) its synthesis.

    Raises:
        ValueError: if the lengths differ.
    """
    said, wanted = (torch.as_tensor(waveform)[None] for waveform in (signal, reference))
    return float(multi_resolution_stft(said, wanted, torch.tensor([said.shape[1]], device=said.device)).sum)
