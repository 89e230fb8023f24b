"""Discriminators of waveforms: the paper's size, and what each of them can and cannot hear."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from kd_lightning.losses.adversarial import least_squares_discriminator
from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.discriminators import MultiPeriodDiscriminator, MultiResolutionDiscriminator

RESOLUTIONS = ((64, 16, 48), (128, 32, 128))


def networks() -> list[nn.Module]:
    torch.manual_seed(0)
    return [
        MultiPeriodDiscriminator((2, 3, 5), width=2),
        MultiResolutionDiscriminator(RESOLUTIONS, width=4),
    ]


def waveforms(items: int = 3, samples: int = 1000) -> Tensor:
    return 0.3 * torch.randn(items, samples)


def test_the_multi_period_discriminator_has_41_1_million_parameters() -> None:
    # Layers of 5 taps and 1, 32, 128, 512, 1024, 1024 channels, then 3 taps; biases and norms of the filters.
    widths = [1, 32, 128, 512, 1024, 1024]
    taps = sum(5 * inputs * outputs for inputs, outputs in pairwise(widths)) + 3 * 1024
    with torch.device("meta"):
        assert parameters(MultiPeriodDiscriminator()) == 5 * (taps + 2 * (sum(widths[1:]) + 1))
        assert parameters(MultiPeriodDiscriminator()) == pytest.approx(41.1e6, rel=0.001)


def test_the_multi_resolution_discriminator_has_the_papers_layers() -> None:
    taps = 27 * 32 + 3 * 27 * 32 * 32 + 9 * 32 * 32 + 9 * 32
    with torch.device("meta"):
        assert parameters(MultiResolutionDiscriminator()) == 3 * (taps + 2 * (5 * 32 + 1))


def test_a_quarter_of_the_width_is_a_sixteenth_of_the_size() -> None:
    for network in (MultiPeriodDiscriminator, MultiResolutionDiscriminator):
        with torch.device("meta"):
            assert parameters(network(width=8)) == pytest.approx(parameters(network()) / 16, rel=0.1)


def test_one_score_a_part_and_the_activations_of_each_layer() -> None:
    periods, resolutions = (network(waveforms()) for network in networks())
    assert (len(periods.scores), len(periods.features)) == (3, 3 * 5)
    assert (len(resolutions.scores), len(resolutions.features)) == (2, 2 * 5)
    # 500 rows of 2, 334 of 3 and 200 of 5 samples, four times a third of them.
    assert [scores.shape for scores in periods.scores] == [(3, 7 * 2), (3, 5 * 3), (3, 3 * 5)]
    # 33 bins and 63 frames, 65 bins and 32 frames, three times half of the frames.
    assert [scores.shape for scores in resolutions.scores] == [(3, 33 * 8), (3, 65 * 4)]
    assert [features.shape[1] for features in periods.features[:5]] == [2, 8, 32, 64, 64]
    assert {features.shape[1] for features in resolutions.features} == {4}
    assert all(features.ndim == 4 for features in (*periods.features, *resolutions.features))


@pytest.mark.parametrize("period", [2, 3, 7])
def test_each_phase_of_a_period_is_heard_by_itself(period: int) -> None:
    network = MultiPeriodDiscriminator((period,), width=2)
    waveform = waveforms(1, 20 * period)
    changed = waveform.clone()
    changed[:, 1::period] += 1.0
    before, after = (network(heard).scores[0].unflatten(1, (-1, period)) for heard in (waveform, changed))
    assert not torch.equal(before[..., 1], after[..., 1])
    others = [phase for phase in range(period) if phase != 1]
    assert torch.equal(before[..., others], after[..., others])


def test_a_waveform_that_no_period_divides_ends_mirrored() -> None:
    network = MultiPeriodDiscriminator((7,), width=2)
    waveform = waveforms(1, 40)
    mirrored = torch.cat([waveform, waveform[:, [38, 37]]], dim=1)
    assert torch.equal(network(waveform).scores[0], network(mirrored).scores[0])


def test_a_spectrum_does_not_hear_the_sign() -> None:
    network, waveform = MultiResolutionDiscriminator(RESOLUTIONS, width=4), waveforms()
    for before, after in zip(network(waveform).scores, network(-waveform).scores, strict=True):
        torch.testing.assert_close(before, after)


@pytest.mark.parametrize("network", networks())
def test_items_of_a_batch_do_not_hear_one_another(network: nn.Module) -> None:
    waveform = waveforms()
    together = network(waveform).scores
    for row in range(3):
        for alone, batch in zip(network(waveform[row : row + 1]).scores, together, strict=True):
            torch.testing.assert_close(alone[0], batch[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", networks())
def test_everything_learns_and_the_waveform_too(network: nn.Module) -> None:
    waveform = waveforms().requires_grad_()
    silent = torch.zeros(3, 1000).requires_grad_()
    judged = network(waveform), network(silent)
    least_squares_discriminator(judged[0].scores, judged[1].scores).sum.backward()
    idle = [
        name for name, weights in network.named_parameters() if weights.grad is None or not weights.grad.any()
    ]
    assert idle == []
    assert waveform.grad is not None
    assert waveform.grad.any()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()


@pytest.mark.parametrize("network", networks())
def test_it_learns_to_tell_a_tone_from_noise(network: nn.Module) -> None:
    tone = 0.6 * torch.sin(0.3 * torch.arange(1000)).expand(4, -1)
    network = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(80):
        loss = least_squares_discriminator(network(tone).scores, network(waveforms(4)).scores)
        optimizer.zero_grad()
        loss.sum.backward()
        optimizer.step()
    of_tones, of_noise = (network(heard).scores for heard in (tone, waveforms(4)))
    for high, low in zip(of_tones, of_noise, strict=True):
        assert high.mean() > low.mean() + 0.5


@pytest.mark.parametrize("network", networks())
def test_half_precision_says_about_the_same(network: nn.Module) -> None:
    waveform = waveforms()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = network(waveform).scores
    for half, full in zip(low, network(waveform).scores, strict=True):
        assert (half.float() - full).norm() < 0.1 * full.norm()
