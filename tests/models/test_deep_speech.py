"""Deep Speech: torchaudio's outputs, its windows, what padding does to torchaudio's, and the exported graph."""

from pathlib import Path

import pytest
import torch
import torchaudio
from ragged import LENGTHS, assert_padding_is_unheard, ragged
from recognisers import (
    assert_every_parameter_learns,
    assert_onnx_runtime_agrees,
    assert_the_comment_counts,
    settled,
)

from kd_lightning.models.deep_speech import DeepSpeech


def tiny(context: int = 3, stride: int = 2, **settings: object) -> DeepSpeech:
    return DeepSpeech(10, 5, 32, context, stride, **settings)  # type: ignore[arg-type]


def torchaudios(network: DeepSpeech) -> torchaudio.models.DeepSpeech:
    theirs = torchaudio.models.DeepSpeech(10 * (2 * network.context + 1), 32, 5).eval()
    theirs.load_state_dict(network.network.state_dict())
    return theirs


@torch.no_grad()
def test_on_full_batches_it_is_torchaudios() -> None:
    network, features = settled(tiny()), torch.rand(3, 10, 41)
    expected = torchaudios(network)(network.windows(features).unsqueeze(1))
    logits = network(features, torch.full((3,), 41)).logits
    torch.testing.assert_close(logits.log_softmax(dim=2), expected)


@torch.no_grad()
def test_torchaudios_hears_padding_and_ours_does_not() -> None:
    network = settled(tiny())
    torch.nn.init.orthogonal_(
        network.network.bi_rnn.weight_hh_l0_reverse
    )  # what it heard first is not forgotten
    theirs, windows = torchaudios(network), network.windows(ragged(10)).unsqueeze(1)
    valid = 19  # of the second utterance's 37 frames at a stride of 2
    together, alone = theirs(windows)[1, :valid], theirs(windows[1:2, :, :valid])[0]
    assert (together - alone).abs().max() > 0.01
    assert_padding_is_unheard(network, 10, 2)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_window_is_a_frame_with_its_neighbours(stride: int) -> None:
    features = torch.arange(1.0, 22.0).expand(1, 10, 21)
    windows = tiny(context=2, stride=stride).windows(features).unflatten(2, (10, 5))
    assert windows.shape == (1, -(-21 // stride), 10, 5)
    assert windows[0, 0, 0].tolist() == [0, 0, 1, 2, 3]
    assert windows[0, 1, 9].tolist() == [max(1 + stride + away, 0) for away in (-2, -1, 0, 1, 2)]


@pytest.mark.parametrize(("context", "stride"), [(0, 1), (3, 4)])
def test_padding_is_unheard(context: int, stride: int) -> None:
    assert_padding_is_unheard(settled(tiny(context, stride)), 10, stride)


def test_the_ctc_layer_scores_what_is_encoded() -> None:
    network, features = settled(tiny()), ragged(10)
    memory, _ = network.encode(features, LENGTHS)
    assert memory.shape == (5, 31, network.width)
    assert torch.equal(network.ctc(memory), network(features, LENGTHS).logits)


def test_every_parameter_learns() -> None:
    assert_every_parameter_learns(tiny(), 10)


def test_dropout_only_acts_in_training() -> None:
    network, features = tiny(dropout=0.5), ragged(10)
    assert not torch.equal(network(features, LENGTHS).logits, network(features, LENGTHS).logits)
    network.eval()
    assert torch.equal(network(features, LENGTHS).logits, network(features, LENGTHS).logits)


@pytest.mark.parametrize(
    ("group", "name"),
    [("student", "deep_speech_small"), ("teacher", "deep_speech_small"), ("teacher", "deep_speech")],
)
def test_the_size_in_the_comment_of_each_file_is_counted(group: str, name: str) -> None:
    assert_the_comment_counts(group, name)


def test_onnx_runtime_agrees_for_any_length(tmp_path: Path) -> None:
    assert_onnx_runtime_agrees(settled(tiny()), 10, tmp_path / "network.onnx")
