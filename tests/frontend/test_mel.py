"""The mel of synthesis: against torchaudio, and what it promises about level, frames and batches."""

import math
from typing import Any

import pytest
import torch
import torchaudio
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.experiment.compose import conf_folder
from kd_lightning.experiment.targets import build
from kd_lightning.frontend.mel import SILENCE, Mel

SIXTEEN: dict[str, Any] = {
    "sample_rate": 16000, "window_length": 800, "hop_length": 200, "fft_length": 1024
}  # fmt: skip
RAGGED = [4321, 8192, 1, 256, 257]


def noise(clips: int = 3, samples: int = 8192) -> Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def tone(hertz: float, sample_rate: int, samples: int = 8192) -> Tensor:
    return 0.5 * torch.sin(2 * math.pi * hertz * torch.arange(samples) / sample_rate)[None]


def slaney(hertz: float) -> float:
    """Slaney's mel scale: linear to 1 kHz, logarithmic above."""
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * math.log(hertz / 1000) / math.log(6.4)


@pytest.mark.parametrize("settings", [{}, SIXTEEN, {"sample_rate": 24000, "bins": 60, "low_hz": 50.0}])
def test_it_is_torchaudios_mel_spectrogram(settings: dict[str, Any]) -> None:
    mel = Mel(**settings)
    oracle = torchaudio.transforms.MelSpectrogram(
        mel.sample_rate,
        n_fft=mel.fft_length,
        win_length=mel.window_length,
        hop_length=mel.hop_length,
        f_min=float(mel.settings["low_hz"]),
        f_max=8000.0,
        n_mels=mel.bins,
        power=1.0,
        center=False,
        norm="slaney",
        mel_scale="slaney",
    )
    waveform = noise(samples=40 * mel.hop_length) * torch.linspace(0, 1, 40 * mel.hop_length) ** 4
    sides = (mel.fft_length - mel.hop_length) // 2
    expected = oracle(functional.pad(waveform, (sides, sides))).clamp(min=1e-5).log()
    torch.testing.assert_close(mel(waveform), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("settings", [{}, SIXTEEN])
@pytest.mark.parametrize("hertz", [220.0, 440.0, 3000.0])
def test_a_tone_is_loudest_in_the_band_around_it(hertz: float, settings: dict[str, Any]) -> None:
    mel = Mel(**settings)
    # Band k peaks at k + 1 of the 81 steps from 0 to 8 kHz.
    position = slaney(hertz) / slaney(8000.0) * 81 - 1
    loudest = mel(tone(hertz, mel.sample_rate))[0, :, 15].argmax().item()
    assert abs(loudest - position) <= 0.75


def test_the_mel_of_a_tone_is_its_amplitude_by_window_and_filters() -> None:
    # A tone of amplitude A on bin k of the FFT is A / 2 * sum(window) there, half of that on both sides of it.
    mel = Mel()
    k = 100
    heard = mel(tone(k * 22050 / 1024, 22050))[0, :, 15].exp()
    lobe = 0.5 / 2 * 512 * (mel.filters[k] + mel.filters[k - 1] / 2 + mel.filters[k + 1] / 2)
    loud = lobe > 0.1 * lobe.max()
    torch.testing.assert_close(heard[loud], lobe[loud], rtol=1e-3, atol=0)


def test_ten_times_the_amplitude_adds_ln_10() -> None:
    waveform, mel = noise(), Mel()
    assert mel(waveform).min() > SILENCE
    torch.testing.assert_close(mel(10 * waveform), mel(waveform) + math.log(10), rtol=0, atol=1e-4)


def test_silence_is_the_floor_and_no_clip_is_infinite() -> None:
    clips = torch.stack([torch.zeros(8192), torch.ones(8192), 1e-9 * noise(1)[0]]).requires_grad_()
    mel = Mel()(clips)
    assert mel[0].eq(SILENCE).all()
    assert mel[2].eq(SILENCE).all()
    mel.sum().backward()
    assert mel.isfinite().all()
    assert clips.grad is not None
    assert clips.grad.isfinite().all()
    assert clips.grad[1].any()


@pytest.mark.parametrize("settings", [{}, SIXTEEN])
def test_every_hop_that_was_begun_has_a_frame(settings: dict[str, Any]) -> None:
    mel = Mel(**settings)
    for hops in (1, 2, 7):
        assert mel.frames(hops * mel.hop_length) == hops
        assert mel.frames(hops * mel.hop_length + 1) == hops + 1
    for samples in (1, 199, 4000, 4096, 4097):
        assert mel(noise(2, samples)).shape == (2, 80, mel.frames(samples))
    lengths = torch.tensor([1, 200, 201, 5000])
    assert mel.frames(lengths).tolist() == [mel.frames(length) for length in lengths.tolist()]


def test_a_frame_hears_the_samples_around_its_hop() -> None:
    mel = Mel()
    click = torch.zeros(1, 20 * 256)
    click[0, 10 * 256 + 128] = 1.0
    level = mel(click)[0].exp().mean(dim=0)
    assert level.argmax() == 10
    torch.testing.assert_close(level[1:10], level[11:].flip(0), rtol=1e-2, atol=1e-5)
    assert level[:8].max() < 1.1e-5


def test_an_utterance_has_the_same_mel_alone_and_in_a_ragged_batch() -> None:
    mel, lengths = Mel(), torch.tensor(RAGGED)
    batch = noise(5, 9000) * (torch.arange(9000) < lengths[:, None])
    together = mel(batch, None, lengths)
    for row, length in enumerate(RAGGED):
        alone = mel(batch[row : row + 1, :length])[0]
        torch.testing.assert_close(together[row, :, : alone.shape[1]], alone, rtol=0, atol=1e-4)
        assert together[row, :, alone.shape[1] :].eq(SILENCE).all()


def test_half_precision_around_it_changes_nothing() -> None:
    mel, waveform = Mel(), noise()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = mel(waveform)
    assert low.dtype == torch.float32
    assert torch.equal(low, mel(waveform))


def test_settings_tell_mels_apart() -> None:
    different = [{}, SIXTEEN, {"hop_length": 300}, {"bins": 60}, {"high_hz": 7600.0}, {"low_hz": 50.0}]
    settings = [Mel(**arguments).settings for arguments in different]
    assert Mel().settings == settings[0]
    assert all(a != b for i, a in enumerate(settings) for b in settings[:i])
    assert Mel().state_dict() == {}
    assert Mel(**SIXTEEN).hop_seconds == 0.0125


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"11025 Hz: set 0 <= low_hz < high_hz <= 5512\.5"):
        Mel(sample_rate=11025)
    with pytest.raises(ValueError, match=r"narrower than the spectrum's resolution of 22 Hz: set fewer bins"):
        Mel(bins=300)
    for lengths in ({"hop_length": 255}, {"hop_length": 2048}, {"window_length": 2048}, {"hop_length": 0}):
        with pytest.raises(ValueError, match="set hop_length <= window_length <= fft_length"):
            Mel(**lengths)


@pytest.mark.parametrize(
    ("name", "sample_rate", "lengths"),
    [
        ("mel_16k", 16000, (800, 200, 1024)),
        ("mel_22k", 22050, (1024, 256, 1024)),
        ("mel_24k", 24000, (1024, 256, 1024)),
    ],
)
def test_the_settings_of_each_sample_rate(name: str, sample_rate: int, lengths: tuple[int, int, int]) -> None:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=[f"frontend={name}"])
    mel = build(OmegaConf.to_container(config.frontend), nn.Module)
    assert isinstance(mel, Mel)
    assert (mel.sample_rate, mel.bins) == (sample_rate, 80)
    assert (mel.window_length, mel.hop_length, mel.fft_length) == lengths
