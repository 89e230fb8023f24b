"""Losses between two waveforms that compare how loud they are where, not their phases."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.frontend.mel import Mel
from kd_lightning.losses.summed import Summed, over_batch, require_same_shape

# FFT, hop and window in samples: those of Yamamoto et al. at 24 kHz.
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))
# Under this amplitude of a bin nothing is compared: that of white noise at -96 dB of full scale and a window of 512
# samples.
_LEAST_AMPLITUDE = 2.5e-4
# What convergence is measured against at least, on average over the bins: noise at -66 dB. Else a segment without any
# sound would outweigh all others.
_LEAST_SPECTRUM = 1e-2


def multi_resolution_stft(
    said: Tensor,
    wanted: Tensor,
    samples: Tensor,
    resolutions: Sequence[Sequence[int]] = RESOLUTIONS,
) -> Summed:
    """Spectral convergence and distance of log amplitudes, averaged over several spectra of an utterance.

    || |Y| - |X| ||_F / || |Y| ||_F + mean |ln |Y| - ln |X||, X said and Y wanted. Yamamoto et al., "Parallel WaveGAN: A
    Fast Waveform Generation Model Based on Generative Adversarial Networks with Multi-Resolution Spectrogram", ICASSP
    2020, eqs. 3 to 6, for each utterance by itself.

    Args:
        said: (B, T), at most about 1; of any floating type.
        wanted: of the same shape.
        samples: (B,) int64, samples of each that are not padding.
        resolutions: FFT, hop and window of each spectrum, in samples.

    Returns:
        The sum over the utterances and B, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(said, wanted)
    if not len(said):
        return over_batch(said.float().sum(dim=1))  # an FFT of nothing is an error
    with torch.autocast(said.device.type, enabled=False):
        said, wanted = (_heard(waveform.float(), samples) for waveform in (said, wanted))
        distances = [_distance(said, wanted, samples, *resolution) for resolution in resolutions]
    return over_batch(torch.stack(distances).mean(dim=0))


def mel_error(said: Tensor, wanted: Tensor, samples: Tensor, mel: Mel) -> Summed:
    """Absolute error of the log-mel, averaged over its bands.

    Kong et al., "HiFi-GAN", NeurIPS 2020, eq. 4.

    Args:
        said: (B, T), at most about 1; of any floating type.
        wanted: of the same shape.
        samples: (B,) int64, samples of each that are not padding.
        mel: the frontend, on the waveforms' device.

    Returns:
        The sum over the frames that are not padding, and their number, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(said, wanted)
    if not len(said):
        return over_batch(said.float().sum(dim=1))  # an FFT of nothing is an error
    ours, theirs = (mel(_heard(waveform.float(), samples), None, samples) for waveform in (said, wanted))
    # Padding is silence in both.
    return Summed((ours - theirs).abs().mean(dim=1).sum(), mel.frames(samples).sum().float())


def _heard(waveform: Tensor, samples: Tensor) -> Tensor:
    """Waveforms (B, T) with zeros instead of padding."""
    return waveform * (torch.arange(waveform.shape[1], device=waveform.device) < samples[:, None])


def _distance(
    said: Tensor, wanted: Tensor, samples: Tensor, fft_length: int, hop_length: int, window_length: int
) -> Tensor:
    """Convergence and log distance (B,) of one spectrum of waveforms (B, T), zero where they are padding."""
    window = torch.hann_window(window_length, device=said.device)
    ours, theirs = (_amplitude(waveform, fft_length, hop_length, window) for waveform in (said, wanted))
    # The frames that hear something of an utterance count. All others have the least amplitude in both spectra.
    values = ((samples + window_length // 2) // hop_length + 1) * ours.shape[1]
    squares = (theirs - ours).square().sum(dim=(1, 2))
    # The square root of no difference has no slope.
    difference = squares.clamp(min=torch.finfo(torch.float32).tiny).sqrt()
    norm = theirs.square().sum(dim=(1, 2)).sqrt()
    convergence = difference / torch.maximum(norm, _LEAST_SPECTRUM * values.sqrt())
    return convergence + (theirs / ours).log().abs().sum(dim=(1, 2)) / values


def _amplitude(waveform: Tensor, fft_length: int, hop_length: int, window: Tensor) -> Tensor:
    """(B, fft_length / 2 + 1, frames), frame i centred on i * hop_length, as many as hear something of T samples."""
    sides = fft_length // 2
    spectrum = torch.stft(
        functional.pad(waveform, (sides, sides + len(window) // 2)),
        fft_length,
        hop_length,
        len(window),
        window,
        center=False,
        return_complex=True,
    )
    # With its gradient, abs() takes two thirds of the time of the root of a sum of squares; its slope at 0 is 0.
    return spectrum.abs().clamp(min=_LEAST_AMPLITUDE)
