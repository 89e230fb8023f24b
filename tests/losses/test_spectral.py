"""Distances of spectra: closed forms of changes of level, the definition in float64, and ragged batches."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann
from torch import Tensor

from kd_lightning.frontend.mel import Mel
from kd_lightning.losses.spectral import mel_error, multi_resolution_stft
from kd_lightning.losses.summed import Summed

GENERATOR = torch.Generator().manual_seed(0)
SAID, WANTED = 0.1 * torch.randn(2, 3, 6000, generator=GENERATOR)
SAMPLES = torch.tensor([6000, 3210, 700])
FULL = torch.tensor([6000, 6000, 6000])
MEL = Mel(16000, window_length=800, hop_length=200)


def mel(said: Tensor, wanted: Tensor, samples: Tensor) -> Summed:
    return mel_error(said, wanted, samples, MEL)


def defined(said: np.ndarray, wanted: np.ndarray, fft: int, hop: int, window: int) -> float:
    """One utterance and one spectrum, in float64, of all frames that hear something."""
    transform = ShortTimeFFT(hann(window, sym=False), hop, fs=1, mfft=fft)
    frames = (len(said) + window // 2) // hop + 1
    ours, theirs = (
        np.maximum(np.abs(transform.stft(side, p0=0, p1=frames)), 2.5e-4) for side in (said, wanted)
    )
    convergence = np.linalg.norm(theirs - ours) / np.linalg.norm(theirs)
    return float(convergence + np.abs(np.log(theirs) - np.log(ours)).mean())


@pytest.mark.parametrize("resolution", [(1024, 120, 600), (512, 50, 240), (256, 64, 256)])
def test_the_distance_is_its_definition_in_float64(resolution: tuple[int, int, int]) -> None:
    expected = sum(
        defined(said[:length].double().numpy(), wanted[:length].double().numpy(), *resolution)
        for said, wanted, length in zip(SAID, WANTED, SAMPLES.tolist(), strict=True)
    )
    found = multi_resolution_stft(SAID, WANTED, SAMPLES, [resolution])
    assert found.sum.item() == pytest.approx(expected, rel=1e-4)
    assert found.count == 3


def test_several_resolutions_count_alike() -> None:
    resolutions = [(512, 128, 512), (256, 32, 200), (64, 16, 64)]
    each = [multi_resolution_stft(SAID, WANTED, SAMPLES, [resolution]).sum for resolution in resolutions]
    together = multi_resolution_stft(SAID, WANTED, SAMPLES, resolutions).sum
    torch.testing.assert_close(together, torch.stack(each).mean())


@pytest.mark.parametrize("gain", [0.5, 2.0, -3.0])
def test_a_change_of_level_costs_what_the_equations_say(gain: float) -> None:
    # Convergence |1 - g|, log distance |ln g|; a turned sign is not heard.
    level = abs(gain)
    spectrum = multi_resolution_stft(gain * WANTED, WANTED, FULL)
    assert spectrum.sum.item() / 3 == pytest.approx(abs(1 - level) + abs(math.log(level)), rel=1e-3)
    heard = mel(gain * WANTED, WANTED, FULL)
    assert heard.sum.item() / heard.count.item() == pytest.approx(abs(math.log(level)), rel=1e-3)
    assert heard.count == 3 * 30


@pytest.mark.parametrize("loss", [multi_resolution_stft, mel])
def test_the_same_waveform_costs_nothing_and_pulls_nowhere(loss: Any) -> None:
    said = WANTED.clone().requires_grad_()
    summed = loss(said, WANTED, SAMPLES)
    summed.sum.backward()
    assert summed.sum.item() == pytest.approx(0, abs=1e-6)
    assert said.grad is not None
    assert said.grad.eq(0).all()


@pytest.mark.parametrize("loss", [multi_resolution_stft, mel])
def test_padding_is_not_compared(loss: Any) -> None:
    said = SAID.clone().requires_grad_()
    together = loss(said, WANTED, SAMPLES)
    together.sum.backward()
    alone = [
        loss(said[row : row + 1, :length], WANTED[row : row + 1, :length], torch.tensor([length]))
        for row, length in enumerate(SAMPLES.tolist())
    ]
    torch.testing.assert_close(together.sum, sum(one.sum for one in alone), rtol=1e-5, atol=0)
    assert together.count == sum(one.count for one in alone)
    assert said.grad is not None
    for gradient, length in zip(said.grad, SAMPLES.tolist(), strict=True):
        assert gradient[length:].eq(0).all()
        assert gradient[:length].any()


@pytest.mark.parametrize("loss", [multi_resolution_stft, mel])
def test_silence_has_a_finite_cost_and_slope(loss: Any) -> None:
    silent = torch.zeros(1, 6000)
    for said, wanted in ((silent, WANTED[:1]), (WANTED[:1], silent), (1e-6 * WANTED[:1], silent)):
        said = said.clone().requires_grad_()
        summed = loss(said, wanted, FULL[:1])
        summed.sum.backward()
        assert summed.sum.isfinite()
        assert said.grad is not None
        assert said.grad.isfinite().all()
    assert loss(silent, silent, FULL[:1]).sum.item() == pytest.approx(0, abs=1e-6)


def test_noise_in_a_silent_segment_does_not_outweigh_all_others() -> None:
    noise = 1e-3 * torch.randn(1, 6000, generator=GENERATOR)
    assert multi_resolution_stft(noise, torch.zeros(1, 6000), FULL[:1]).sum < 10


@pytest.mark.parametrize("loss", [multi_resolution_stft, mel])
def test_a_step_along_the_slope_comes_closer(loss: Any) -> None:
    said = SAID.clone().requires_grad_()
    before = loss(said, WANTED, SAMPLES).sum
    (slope,) = torch.autograd.grad(before, said)
    assert loss(SAID - 1e-2 * slope / slope.norm(), WANTED, SAMPLES).sum < before


@pytest.mark.parametrize("loss", [multi_resolution_stft, mel])
def test_no_utterance_is_zero_of_zero_and_half_precision_is_not_kept(loss: Any) -> None:
    said = SAID.clone().requires_grad_()
    none = loss(said[:0], WANTED[:0], SAMPLES[:0])
    none.sum.backward()
    assert (none.sum.item(), none.count.item()) == (0.0, 0.0)
    low = SAID.bfloat16(), WANTED.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss(*low, SAMPLES)
    assert (half.sum.dtype, half.count.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(half, loss(*(side.float() for side in low), SAMPLES))
    with pytest.raises(ValueError, match=r"\(3, 6000\) and the teacher's \(1, 6000\)"):
        loss(SAID, WANTED[:1], SAMPLES)
