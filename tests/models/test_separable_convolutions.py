"""Separable convolutions: Conv1d's own values, where a block adds its shortcut, and which blocks CTC may score."""

import pytest
import torch
from ragged import LENGTHS, ragged
from recognisers import settled
from torch.nn import functional

from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.quartznet import QuartzNet
from kd_lightning.models.separable_convolutions import Block, DepthwiseConv, PointwiseConv, SeparableConv


@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (4, 1), (1, 2)])
def test_a_depthwise_convolution_is_conv1d(stride: int, dilation: int) -> None:
    convolution, hidden = DepthwiseConv(6, 7, stride, dilation), torch.randn(3, 6, 21)
    expected = functional.conv1d(hidden, convolution.weight, None, stride, 3 * dilation, dilation, groups=6)
    torch.testing.assert_close(convolution(hidden), expected)


def test_a_separable_convolution_is_a_full_one_of_rank_one_in_each_channel() -> None:
    layer, lengths = settled(SeparableConv(4, 5, 3)).double(), torch.tensor([9, 9])
    hidden = torch.randn(2, 4, 9, dtype=torch.float64)
    filters = layer.pointwise.conv.weight * layer.depthwise.weight[:, 0]
    expected = layer.pointwise.norm(functional.conv1d(hidden, filters, padding=1))
    torch.testing.assert_close(layer(hidden, lengths), expected)


def test_a_block_adds_its_shortcut_before_the_last_relu() -> None:
    first, last, shortcut = (
        SeparableConv(3, 4, 5),
        SeparableConv(4, 4, 5, stride=2),
        PointwiseConv(3, 4, stride=2),
    )
    block, lengths = settled(Block([first, last], shortcut)), torch.tensor([11, 6])
    hidden = torch.randn(2, 3, 11)
    expected = (last(first(hidden, lengths).relu(), lengths) + shortcut(hidden, lengths)).relu()
    assert torch.equal(block(hidden, lengths), expected)
    assert block.stride == 2


def test_frames_without_a_middle_are_refused() -> None:
    with pytest.raises(ValueError, match="over 8 frames has no frame in its middle: set an odd kernel"):
        SeparableConv(4, 4, 8)


def test_chosen_blocks_are_scored_in_training_only_by_layers_of_their_own() -> None:
    settings = {"channels": (8, 12), "kernels": (5, 7), "repeats": 1, "tail_kernel": 5, "head_channels": 16}
    network = QuartzNet(10, 5, **settings, intermediate_layers=[1, 2])
    assert parameters(network) - parameters(QuartzNet(10, 5, **settings)) == (8 + 1) * 5 + (12 + 1) * 5
    output = network(ragged(10), LENGTHS)
    assert [logits.shape for logits in output.intermediate] == [output.logits.shape] * 2
    assert network.eval()(ragged(10), LENGTHS).intermediate == ()
    with pytest.raises(ValueError, match=r"intermediate_layers=\[3\]: set numbers from 1 to 2"):
        QuartzNet(10, 5, **settings, intermediate_layers=[3])
