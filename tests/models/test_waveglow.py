"""WaveGlow: the published size, what a sample hears of the mel, and that it learns."""

import math

import pytest
import torch
from flows import assert_the_comment_counts, configured

from kd_lightning.frontend.mel import Mel
from kd_lightning.losses.flow import negative_log_likelihood
from kd_lightning.metrics.efficiency import macs, parameters
from kd_lightning.models.waveglow import WaveGlow


def test_it_has_as_many_parameters_as_published() -> None:
    # Published as 87.9M: with the magnitudes of normalised weights, one for each output channel.
    with torch.device("meta"):
        network = WaveGlow(80, 256)
    assert parameters(network) == 87_879_272
    magnitudes = sum(
        weights.numel() for name, weights in network.named_parameters() if name.endswith("original0")
    )
    assert parameters(network.fuse()) == 87_879_272 - magnitudes == 87_731_816


def test_multiply_accumulates_are_the_published_ones_and_the_upsampling() -> None:
    # Zhai et al. 2020 divide those of 16,384 samples (64 frames) by 0.725 s, without the transposed convolution.
    network = configured("teacher", "waveglow", device="cpu")
    upsampling = 64 * 80 * 80 * 1024
    counted = 64 * macs(network, torch.zeros(1, 80, 1))
    assert (counted - upsampling) / 0.725 == pytest.approx(228.897e9, rel=1e-4)
    assert upsampling / counted < 0.003


@pytest.mark.parametrize("name", ["waveglow", "waveglow_small"])
def test_the_size_in_the_comment_of_each_file_is_counted(name: str) -> None:
    assert_the_comment_counts("teacher", name)


@pytest.mark.parametrize("frames", [1, 2, 4])
@torch.no_grad()
def test_a_frame_is_heard_around_the_middle_of_its_hop(frames: int) -> None:
    bins, hop, group = 3, 16, 8
    network = WaveGlow(bins, hop, group, 1, 1, 2, 1, 4, upsampling_frames=frames)
    mel = torch.zeros(1, bins, 9)
    silence = network.condition(mel)
    assert silence.shape == (1, group * bins, 9 * hop // group)
    mel[:, :, 4] = 1
    # (bins, group) channels at a position are group samples of each band.
    moved = (network.condition(mel) != silence)[0].unflatten(0, (bins, group)).any(dim=0).T.flatten()
    heard = moved.nonzero().flatten()
    assert heard.tolist() == list(range(heard[0], heard[0] + frames * hop))
    assert heard.double().mean() == 4 * hop + (hop - 1) / 2


def test_a_voice_becomes_likelier_in_a_few_steps() -> None:
    # A second of a buzz that glides from 110 to 220 Hz, louder and softer, in a little noise.
    seconds = torch.arange(63 * 256) / 16000
    phase = 2 * math.pi * torch.cumsum(110 * (1 + seconds / seconds[-1]) / 16000, dim=0)
    buzz = sum((phase * harmonic).sin() / harmonic for harmonic in range(1, 20))
    waveform = 0.1 * buzz * (1 + (6 * math.pi * seconds).sin()) + 0.003 * torch.randn(len(seconds))  # type: ignore[operator]
    mel = Mel(16000, 1024, 256, 1024, 20)(waveform[None])
    network = WaveGlow(20, 256, 8, 3, 2, 2, 2, 16, upsampling_frames=1)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        loss = negative_log_likelihood(*network.flow(waveform[None], mel), sigma=0.5**0.5)
        mean = loss.sum / loss.count
        optimizer.zero_grad()
        mean.backward()
        optimizer.step()
        losses.append(mean.item())
    # Before the first step the noise is the waveform itself, rotated: z^2 with sigma^2 = 1/2.
    assert losses[0] == pytest.approx(waveform.square().mean().item(), rel=1e-3)
    assert losses[-1] < losses[0] - 0.5
