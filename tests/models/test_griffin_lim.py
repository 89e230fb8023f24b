"""Griffin-Lim: it says what has the mel, and always the same."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from kd_lightning.frontend.mel import SILENCE, Mel
from kd_lightning.models.griffin_lim import GriffinLim

SIXTEEN: dict[str, Any] = {"sample_rate": 16000, "window_length": 800, "hop_length": 200}


def voice(sample_rate: int, hop_length: int, hops: int = 80) -> Tensor:
    """A buzz of 120 to 200 Hz with a little noise: (1, T)."""
    time = torch.arange(hops * hop_length) / sample_rate
    hertz = 160 + 40 * torch.sin(2 * math.pi * 1.5 * time)
    phase = 2 * math.pi * hertz.cumsum(dim=0) / sample_rate
    harmonics = torch.arange(1, 35)[:, None]
    buzz = (torch.sin(harmonics * phase) / harmonics).sum(dim=0)
    return (0.1 * buzz + 0.003 * torch.randn(len(time)))[None]


@pytest.mark.parametrize("settings", [{}, {"sample_rate": 24000}, SIXTEEN])
def test_what_it_says_has_about_the_mel(settings: dict[str, Any]) -> None:
    mel = Mel(**settings)
    wanted = mel(voice(mel.sample_rate, mel.hop_length))
    errors = {
        iterations: (mel(GriffinLim(mel, iterations)(wanted)) - wanted).abs().mean().item()
        for iterations in (1, 32)
    }
    # In nepers: 0.3 is 2.6 dB. Without a phase, the same amplitudes are further off.
    assert errors[32] < 0.3
    assert errors[32] < 0.8 * errors[1]


def test_it_is_as_loud_and_keeps_the_time() -> None:
    mel = Mel()
    waveform = voice(22050, 256) * (torch.arange(80 * 256) // 256 % 20 < 10)
    said = GriffinLim(mel)(mel(waveform))
    levels = [side.unflatten(1, (-1, 256)).square().mean(dim=2).sqrt()[0] for side in (waveform, said)]
    loud = levels[0] > 0
    assert levels[1][loud].mean() == pytest.approx(levels[0][loud].mean().item(), rel=0.15)
    assert torch.corrcoef(torch.stack(levels))[0, 1] > 0.95


@pytest.mark.parametrize("settings", [{}, SIXTEEN, {"hop_length": 512}])
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_a_frame_becomes_a_hop_of_samples(settings: dict[str, Any], frames: int) -> None:
    mel = Mel(**settings)
    said = GriffinLim(mel, iterations=2)(torch.randn(2, 80, frames) - 4)
    assert said.shape == (2, frames * mel.hop_length)
    assert said.isfinite().all()


def test_a_mel_has_one_waveform_alone_and_among_others() -> None:
    mel = Mel()
    vocoder = GriffinLim(mel, iterations=8)
    wanted = torch.cat([mel(voice(22050, 256, 20)) for _ in range(3)])
    said = vocoder(wanted)
    assert torch.equal(said, vocoder(wanted))
    torch.testing.assert_close(vocoder(wanted[1:2])[0], said[1], rtol=0, atol=1e-4)


def test_silence_is_silent() -> None:
    assert GriffinLim(Mel())(torch.full((1, 80, 20), SILENCE)).abs().max() < 1e-3


def test_it_has_nothing_to_learn_and_no_weights() -> None:
    vocoder = GriffinLim(Mel())
    assert list(vocoder.parameters()) == []
    assert vocoder.state_dict() == {}


def test_half_precision_around_it_changes_nothing() -> None:
    mel = Mel()
    vocoder, wanted = GriffinLim(mel, iterations=4), mel(voice(22050, 256, 20))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = vocoder(wanted)
    assert low.dtype == torch.float32
    assert torch.equal(low, vocoder(wanted))
