"""Can a synthesis be understood, and how good would listeners find it? Estimates that need the recording beside it."""

import warnings
from importlib import import_module

import torch
import torchaudio
from numpy.typing import ArrayLike
from torch import Tensor
from torchmetrics.functional.audio.pesq import perceptual_evaluation_speech_quality
from torchmetrics.functional.audio.stoi import short_time_objective_intelligibility

_PESQ_RATE = 16000  # Hz, of its wide band


def stoi(reference: ArrayLike, signal: ArrayLike, sample_rate: int) -> float | None:
    """Short-time objective intelligibility, about 0 to 1.

    Taal et al., "An Algorithm for Intelligibility Prediction of Time-Frequency Weighted Noisy Speech", IEEE TASLP 2011.

    Args:
        reference: (T,) recording.
        signal: (T,) copy synthesis of it: the same samples, not another reading.
        sample_rate: in Hz.

    Returns:
        ``None`` for less than 0.4 s of speech, of which it cannot tell.

    Raises:
        ValueError: if the lengths differ.
    """
    recorded, heard = _pair(reference, signal)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
        try:
            return float(short_time_objective_intelligibility(heard, recorded, sample_rate))
        except RuntimeWarning:
            return None


def pesq(reference: ArrayLike, signal: ArrayLike, sample_rate: int) -> float | None:
    """Perceptual evaluation of speech quality, wide band (ITU-T P.862.2), 1.0 to 4.6, at 16 kHz.

    Args:
        reference: (T,) recording.
        signal: (T,) copy synthesis of it.
        sample_rate: in Hz.

    Returns:
        ``None`` where the extra ``pesq`` is not installed, and where it finds no speech in the recording.

    Raises:
        ValueError: if the lengths differ.
    """
    pair = _pair(reference, signal)
    try:
        errors = import_module("pesq").PesqError
    except ModuleNotFoundError:
        return None
    recorded, heard = (torchaudio.functional.resample(waveform, sample_rate, _PESQ_RATE) for waveform in pair)
    try:
        return float(perceptual_evaluation_speech_quality(heard, recorded, _PESQ_RATE, "wb"))
    except errors:
        return None


def _pair(reference: ArrayLike, signal: ArrayLike) -> tuple[Tensor, Tensor]:
    recorded, heard = (torch.as_tensor(waveform).float() for waveform in (reference, signal))
    if recorded.shape != heard.shape:
        raise ValueError(
            f"waveforms of {tuple(recorded.shape)} and {tuple(heard.shape)}: cut both to the same samples"
        )
    return recorded, heard
