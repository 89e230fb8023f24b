"""QuartzNet: the paper's sizes, its strides, what padding does to it, and the exported graph."""

from pathlib import Path

import pytest
import torch
from ragged import LENGTHS, assert_padding_is_unheard, ragged
from recognisers import (
    assert_every_parameter_learns,
    assert_onnx_runtime_agrees,
    assert_the_comment_counts,
    settled,
)

from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.quartznet import QuartzNet


def tiny(stride: int = 2, **settings: object) -> QuartzNet:
    return QuartzNet(10, 5, (16, 24), (5, 7), 2, 2, 5, 16, stride, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("copies", "published"), [(1, 6.7e6), (2, 12.8e6), (3, 18.9e6)])
def test_parameters_are_within_a_percent_of_the_papers(copies: int, published: float) -> None:
    # Table 2 of Kriman et al. 2020: 64 bins, 28 characters and the blank.
    with torch.device("meta"):
        assert parameters(QuartzNet(64, 29, copies=copies)) == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("student", "quartznet_small"),
        ("student", "quartznet_5x5"),
        ("teacher", "quartznet_teacher"),
        ("teacher", "quartznet_5x5"),
        ("teacher", "quartznet_15x5"),
    ],
)
def test_the_size_in_the_comment_of_each_file_is_counted(group: str, name: str) -> None:
    assert_the_comment_counts(group, name)


@pytest.mark.parametrize("stride", [2, 4])
def test_padding_is_unheard(stride: int) -> None:
    assert_padding_is_unheard(settled(tiny(stride)), 10, stride)


def test_the_ctc_layer_scores_what_is_encoded() -> None:
    network, features = settled(tiny()), ragged(10)
    memory, _ = network.encode(features, LENGTHS)
    assert memory.shape == (5, 31, network.width)
    assert torch.equal(network.ctc(memory), network(features, LENGTHS).logits)


def test_every_parameter_learns() -> None:
    assert_every_parameter_learns(tiny(intermediate_layers=[2]), 10)


def test_dropout_only_acts_in_training() -> None:
    network, features = tiny(dropout=0.5), ragged(10)
    assert not torch.equal(network(features, LENGTHS).logits, network(features, LENGTHS).logits)
    network.eval()
    assert torch.equal(network(features, LENGTHS).logits, network(features, LENGTHS).logits)


def test_a_kernel_for_each_block_is_asked_for() -> None:
    with pytest.raises(ValueError, match="3 channels and 2 kernels: give one of each a block"):
        QuartzNet(10, 5, channels=(8, 8, 8), kernels=(5, 7))


def test_an_odd_stride_is_refused() -> None:
    with pytest.raises(ValueError, match="stride=3: set 2 or 4"):
        tiny(stride=3)


def test_onnx_runtime_agrees_for_any_length(tmp_path: Path) -> None:
    assert_onnx_runtime_agrees(settled(tiny()), 10, tmp_path / "network.onnx")
