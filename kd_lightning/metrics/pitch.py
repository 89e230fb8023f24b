"""Fundamental frequency: how high a voice speaks, and the errors of a synthesis in it."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from kd_lightning.frontend.pitch import PERIOD, Floats


class PitchErrors(NamedTuple):
    """Errors over aligned frames.

    Attributes:
        hz: root mean square error over the frames that are voiced in both; ``None`` without one.
        cents: the same in hundredths of a semitone.
        voicing: share of the frames that are voiced in one and not in the other.
    """

    hz: float | None
    cents: float | None
    voicing: float


def at_frames(f0: Floats, frames: int, hop_seconds: float) -> Floats:
    """F0 in the middle of each frame of a mel: frame i is centred on (i + 1/2) hops.

    The nearest value is taken: between a voiced and an unvoiced one there is none.

    Args:
        f0: (N,) Hz every 5 ms.
        frames: of the mel.
        hop_seconds: of a frame.

    Returns:
        (frames,) Hz, 0 where there is no voice.
    """
    nearest = np.rint((np.arange(frames) + 0.5) * hop_seconds / PERIOD).astype(np.int64)
    return f0[nearest.clip(max=len(f0) - 1)]


def pitch_errors(reference: Floats, f0: Floats, path: NDArray[np.int64] | None = None) -> PitchErrors:
    """Errors of a synthesis in F0 and in voicing.

    Args:
        reference: (N,) Hz of a recording, 0 where there is no voice.
        f0: (N',) Hz of its synthesis.
        path: (K, 2) which values belong together, for a synthesis that has a pace of its own: that of
            :func:`~kd_lightning.metrics.spectral_distance.warping_path`, with F0 :func:`at_frames` of the mels. Without
            it, value by value: copy synthesis.

    Raises:
        ValueError: without a path, if the lengths differ.
    """
    if path is not None:
        reference, f0 = reference[path[:, 0]], f0[path[:, 1]]
    if len(reference) != len(f0):
        raise ValueError(
            f"{len(reference)} and {len(f0)} values of F0: cut both waveforms to the same samples, or give the path "
            "along which they are aligned"
        )
    voiced = (reference > 0) & (f0 > 0)
    voicing = float(((reference > 0) != (f0 > 0)).mean())
    if not voiced.any():
        return PitchErrors(None, None, voicing)
    ours, theirs = reference[voiced], f0[voiced]
    return PitchErrors(
        _root_mean_square(theirs - ours), _root_mean_square(1200 * np.log2(theirs / ours)), voicing
    )


def token_pitch(f0: Tensor, durations: Tensor, mean: float, deviation: float) -> Tensor:
    """The mean of normalised ln F0 over the voiced frames of each token.

    Args:
        f0: (B, frames) Hz of the frames of a mel, 0 where there is no voice.
        durations: (B, U) int64, frames of each token.
        mean: of ln F0 over the voiced frames of the voice or corpus.
        deviation: its standard deviation.

    Returns:
        (B, U) float32; 0 for a token without voice.
    """
    voiced = f0 > 0
    normal = ((f0.double().where(voiced, 1.0).log() - mean) / deviation).where(voiced, 0.0)
    return _token_means(normal, voiced, durations)


def token_energy(mel: Tensor, durations: Tensor, mean: float, deviation: float) -> Tensor:
    """The mean of the normalised :func:`frame_energy` over the frames of each token.

    Args:
        mel: (B, bins, frames) natural logarithm of the mel amplitude.
        durations: (B, U) int64, frames of each token.
        mean: of :func:`frame_energy` over the frames of the voice or corpus.
        deviation: its standard deviation.

    Returns:
        (B, U) float32; 0 for a token without a frame.
    """
    normal = (frame_energy(mel).double() - mean) / deviation
    return _token_means(normal, torch.ones_like(normal, dtype=torch.bool), durations)


def frame_energy(mel: Tensor) -> Tensor:
    """ln of the norm of each frame's mel amplitudes.

    Args:
        mel: (..., bins, frames) natural logarithm of the mel amplitude.

    Returns:
        (..., frames) float32.
    """
    return (2 * mel.float()).logsumexp(dim=-2) / 2


def _root_mean_square(errors: Floats) -> float:
    return float(np.sqrt(np.mean(errors**2)))


def _token_means(values: Tensor, counted: Tensor, durations: Tensor) -> Tensor:
    """Means (B, U) over the counted frames of each token.

    Args:
        values: (B, frames) float64.
        counted: (B, frames) bool.
        durations: (B, U) int64.
    """
    ends = durations.cumsum(dim=1).clamp(max=values.shape[1])
    bounds = torch.nn.functional.pad(ends, (1, 0))
    sums, counts = (
        torch.nn.functional.pad(part.where(counted, 0.0).cumsum(dim=1), (1, 0)).gather(1, bounds).diff(dim=1)
        for part in (values, torch.ones_like(values))
    )
    return (sums / counts.clamp(min=1)).float()
