"""timm's networks as recognisers: strides, what padding does to every family, and what is refused."""

import copy
import sys
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
from torch import nn

from kd_lightning.models.taps import Taps
from kd_lightning.models.timm_network import TimmNetwork
from kd_lightning.models.timm_recogniser import Ends, TimmRecogniser, ValidSqueezeExcite

pytest.importorskip("timm")
SMALLEST = "mobilenetv3_small_050"
FAMILIES = [
    *("mobilenetv1_100", "mobilenetv2_035", SMALLEST, "mobilenetv4_conv_small_035"),
    *("efficientnet_lite0", "test_efficientnet", "lcnet_050", "tinynet_e", "mnasnet_small"),
]


@pytest.mark.parametrize("name", FAMILIES)
def test_padding_is_unheard(name: str) -> None:
    assert_padding_is_unheard(settled(TimmRecogniser(40, 5, name)), 40, 4)


def test_time_is_quartered_and_frequency_halved_five_times() -> None:
    network = settled(TimmRecogniser(80, 5, SMALLEST))
    with Taps(network, ["network.blocks.0", "network.blocks"]) as hidden:
        output = network(ragged(80), LENGTHS)
    assert hidden["network.blocks.0"].shape[2:] == (20, 16)
    assert hidden["network.blocks"].shape == (5, network.width, 3, 16)
    assert output.logits.shape == (5, 16, 5)


def test_without_padding_squeeze_and_excitation_is_timms() -> None:
    theirs = TimmNetwork(40, 0, SMALLEST).network.blocks[0][0].se
    ends, image = Ends(), torch.randn(2, 16, 5, 7)
    ends.lengths = torch.tensor([14, 13])  # either is 7 frames after a stride of 2
    torch.testing.assert_close(ValidSqueezeExcite(theirs, ends, 2)(image), theirs(image))


def test_every_parameter_learns() -> None:
    assert_every_parameter_learns(TimmRecogniser(40, 5, SMALLEST), 40)


def test_a_copy_has_ends_of_its_own() -> None:
    network, features = settled(TimmRecogniser(40, 5, SMALLEST)), ragged(40)
    copied, expected = copy.deepcopy(network), network(features, LENGTHS).logits
    network(features, torch.full_like(LENGTHS, 61))
    assert torch.equal(copied(features, LENGTHS).logits, expected)


def test_dropout_and_drop_path_act_in_training_only() -> None:
    network = settled(TimmRecogniser(40, 5, "efficientnet_lite0", dropout=0.5, drop_path=0.5))
    features = ragged(40)
    assert torch.equal(network(features, LENGTHS).logits, network(features, LENGTHS).logits)
    for module in network.modules():  # BatchNorm keeps its statistics, so only what drops can differ
        module.train(not isinstance(module, nn.BatchNorm2d))
    with Taps(network, ["network.blocks"]) as first:
        network(features, LENGTHS)
    with Taps(network, ["network.blocks"]) as second:
        network(features, LENGTHS)
    assert not torch.equal(first["network.blocks"], second["network.blocks"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet10t", "resnet10t is neither a MobileNet nor an EfficientNet"),
        ("tf_mobilenetv3_small_minimal_100", "would hear the padding of a batch in its Conv2dSame"),
        ("test_efficientnet_gn", "would hear the padding of a batch in its GroupNormAct"),
        ("mobilenetv3_smal", "timm has no network 'mobilenetv3_smal'"),
    ],
)
def test_networks_that_hear_padding_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimmRecogniser(40, 5, name)


def test_without_timm_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm is missing: pip install 'kd_lightning\[networks\]'"):
        TimmRecogniser(40, 5, SMALLEST)


@pytest.mark.parametrize(
    ("group", "name"),
    [("student", "mobilenet_ctc"), ("student", "efficientnet_ctc"), ("teacher", "efficientnet_ctc")],
)
def test_the_size_in_the_comment_of_each_file_is_counted(group: str, name: str) -> None:
    assert_the_comment_counts(group, name)


@pytest.mark.slow
def test_onnx_runtime_agrees_for_any_length(tmp_path: Path) -> None:
    assert_onnx_runtime_agrees(
        settled(TimmRecogniser(40, 5, "test_efficientnet")), 40, tmp_path / "network.onnx"
    )
