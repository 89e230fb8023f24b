"""BC-ResNet: the paper's sizes, and what broadcasting and sub-bands mean."""

import pytest
import torch
from torch import nn

from kd_lightning.models.bc_resnet import BCResNet, NormalBlock, SubSpectralNorm


@pytest.mark.parametrize(
    ("tau", "published"), [(1, 9_200), (1.5, 17_200), (2, 27_300), (3, 54_200), (6, 188_000), (8, 321_000)]
)
def test_parameters_are_within_two_percent_of_the_papers(tau: float, published: int) -> None:
    # Table 3 of Kim et al. 2021: 40 mel bands, 12 classes.
    counted = sum(parameter.numel() for parameter in BCResNet(40, 12, tau).parameters())
    assert counted == pytest.approx(published, rel=0.02)


def test_bands_shrink_as_in_the_papers_table_and_frames_stay() -> None:
    network = BCResNet(40, 12).eval()
    hidden = network.stem(torch.randn(2, 1, 40, 101))
    assert hidden.shape == (2, 16, 20, 101)
    last_of_stage = {1: (8, 20), 3: (12, 10), 7: (16, 5), 11: (20, 5)}
    for index, block in enumerate(network.blocks):
        hidden = block(hidden)
        if index in last_of_stage:
            assert hidden.shape == (2, *last_of_stage[index], 101)
    assert network.tail(hidden).shape == (2, 32, 1, 101)


def test_logits_of_a_clip_do_not_depend_on_its_batch() -> None:
    network = BCResNet(40, 12).eval()
    features = torch.randn(4, 40, 101)
    together = network(features).logits
    assert together.shape == (4, 12)
    torch.testing.assert_close(together[1:2], network(features[1:2]).logits)


def test_sub_spectral_norm_standardises_each_band_group_of_each_channel() -> None:
    hidden = torch.randn(8, 3, 20, 50) * torch.arange(1, 21).view(20, 1) + torch.arange(20).view(20, 1)
    normalised = SubSpectralNorm(channels=3, sub_bands=5)(hidden)
    groups = normalised.unfold(2, 4, 4)  # (B, channels, sub-bands, frames, bands of the group)
    torch.testing.assert_close(groups.mean(dim=(0, 3, 4)), torch.zeros(3, 5), rtol=0, atol=1e-4)
    torch.testing.assert_close(groups.std(dim=(0, 3, 4), correction=0), torch.ones(3, 5), rtol=0, atol=1e-4)


def test_the_temporal_branch_adds_the_same_to_every_band() -> None:
    block = NormalBlock(channels=4, dilation=2, dropout=0.0).eval()
    hidden = 10 + torch.rand(2, 4, 10, 30)  # far from where the ReLU cuts
    added = block(hidden) - hidden - block.frequency(hidden)
    assert added.abs().max() > 1e-2
    torch.testing.assert_close(added, added[:, :, :1].expand_as(added), rtol=0, atol=1e-5)


def test_a_block_sees_its_own_frame_and_two_at_the_distance_of_the_dilation() -> None:
    block = NormalBlock(channels=1, dilation=4, dropout=0.0).eval()
    hidden = (10 + torch.rand(1, 1, 5, 40)).requires_grad_()
    block(hidden)[..., 20].sum().backward()
    assert hidden.grad is not None
    assert hidden.grad.abs().sum(dim=(0, 1, 2)).nonzero().flatten().tolist() == [16, 20, 24]


def test_dilation_doubles_from_stage_to_stage() -> None:
    convolutions = [module for module in BCResNet(40, 12).modules() if isinstance(module, nn.Conv2d)]
    dilations = [layer.dilation[1] for layer in convolutions if layer.kernel_size == (1, 3)]
    assert dilations == [1, 1, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8]


def test_other_band_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="over 64 mel bands: set the frontend's bins to a multiple of 40"):
        BCResNet(64, 12)
    with pytest.raises(ValueError, match="set a larger tau"):
        BCResNet(40, 12, tau=0.01)
