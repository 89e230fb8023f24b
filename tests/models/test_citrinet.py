"""Citrinet: the paper's sizes, squeeze-and-excitation without padding, and the exported graph."""

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
from kd_lightning.models.citrinet import Citrinet, SqueezeExcitation


def tiny(kernels: tuple[tuple[int, ...], ...] = ((5, 7), (9,), (5, 5)), **settings: object) -> Citrinet:
    return Citrinet(10, 5, 16, kernels, 2, head_channels=24, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(("channels", "published"), [(256, 10.3e6), (512, 36.5e6), (1024, 142e6)])
def test_parameters_are_within_two_percent_of_the_papers(channels: int, published: float) -> None:
    # Of 1,024 word pieces; Citrinet-512 has 37.0M then, and 36.5M of 256.
    with torch.device("meta"):
        assert parameters(Citrinet(80, 1024, channels)) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(
    ("group", "name"),
    [("student", "citrinet_256"), ("teacher", "citrinet_256"), ("teacher", "citrinet_1024")],
)
def test_the_size_in_the_comment_of_each_file_is_counted(group: str, name: str) -> None:
    assert_the_comment_counts(group, name)


def test_excitation_is_a_bottleneck_of_the_mean_over_valid_frames() -> None:
    excitation, hidden = SqueezeExcitation(16).double(), torch.randn(2, 16, 9, dtype=torch.float64)
    scaled = excitation(hidden, torch.tensor([9, 4]))
    reduce, _, expand, _ = excitation.scales
    for index, length in enumerate((9, 4)):
        squeezed = (reduce.weight @ hidden[index, :, :length].mean(dim=1)).clamp(min=0)
        scale = 1 / (1 + (-expand.weight @ squeezed).exp())
        torch.testing.assert_close(scaled[index], hidden[index] * scale[:, None])


@pytest.mark.parametrize(("kernels", "subsampling"), [(((5, 7), (9,), (5, 5)), 8), (((5,), (7,)), 4)])
def test_padding_is_unheard_and_each_mega_block_halves_the_frames(
    kernels: tuple[tuple[int, ...], ...], subsampling: int
) -> None:
    network = settled(tiny(kernels))
    assert network.subsampling == subsampling
    assert_padding_is_unheard(network, 10, subsampling)


def test_every_parameter_learns() -> None:
    assert_every_parameter_learns(tiny(intermediate_layers=[4]), 10)


def test_only_blocks_with_the_outputs_frames_are_scored() -> None:
    output = tiny(intermediate_layers=[4, 5])(ragged(10), LENGTHS)
    assert [logits.shape for logits in output.intermediate] == [output.logits.shape] * 2
    with pytest.raises(ValueError, match=r"intermediate_layers=\[3\]: set numbers from 4 to 5"):
        tiny(intermediate_layers=[3])


@pytest.mark.slow
def test_onnx_runtime_agrees_for_any_length(tmp_path: Path) -> None:
    assert_onnx_runtime_agrees(settled(tiny()), 10, tmp_path / "network.onnx")
