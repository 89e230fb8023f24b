"""Recurrent recognisers: their sizes, what padding does to them, and the exported graph."""

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

from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.recurrent import CELLS
from kd_lightning.models.recurrent_recogniser import RecurrentRecogniser


def tiny(cell: str = "lstm", bidirectional: bool = True, **settings: object) -> RecurrentRecogniser:
    return RecurrentRecogniser(10, 5, cell, 8, 2, bidirectional, 4, **settings)  # type: ignore[arg-type]


def test_its_parts_are_torchs_layers() -> None:
    network = RecurrentRecogniser(80, 30, "gru", hidden=16, layers=3, channels=8)
    convolutions = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8 * 20, 32)
    stack = [nn.GRU(32, 16, bidirectional=True) for _ in range(3)]
    parts = [*convolutions, *stack, *(nn.LayerNorm(32) for _ in range(3)), nn.Linear(32, 30)]
    assert parameters(network) == sum(parameters(part) for part in parts)


@pytest.mark.parametrize(
    ("group", "name"),
    [("student", "lstm_ctc"), ("student", "gru_ctc"), ("student", "rnn_ctc"), ("teacher", "lstm_ctc")],
)
def test_the_size_in_the_comment_of_each_file_is_counted(group: str, name: str) -> None:
    assert_the_comment_counts(group, name)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_padding_is_unheard(cell: str, bidirectional: bool) -> None:
    assert_padding_is_unheard(settled(tiny(cell, bidirectional)), 10, 4)


def test_one_direction_hears_no_later_sound_than_its_convolutions() -> None:
    network, features = settled(tiny(bidirectional=False)), ragged(10)[:1]
    later = features.clone()
    later[:, :, 40:] = 1.0
    before, after = (network(heard, LENGTHS[:1]).logits for heard in (features, later))
    assert torch.equal(before[:, :9], after[:, :9])  # frame 9 sees the features to 39, frame 10 those to 43
    assert not torch.allclose(before[:, 10:], after[:, 10:])


@pytest.mark.parametrize("cell", CELLS)
def test_every_parameter_learns(cell: str) -> None:
    assert_every_parameter_learns(tiny(cell), 10)


def test_lower_layers_are_scored_in_training_by_the_same_layer() -> None:
    network = tiny(intermediate_layers=[1])
    assert parameters(network) == parameters(tiny())
    output = network(ragged(10), LENGTHS)
    (lower,) = output.intermediate
    states, lengths = network.stem(ragged(10), LENGTHS)
    assert lower.shape == output.logits.shape == (*states.shape[:2], 5)
    assert torch.equal(lengths, output.lengths)
    assert network.eval()(ragged(10), LENGTHS).intermediate == ()


def test_dropout_only_acts_in_training() -> None:
    network, features = tiny(dropout=0.5), ragged(10)
    assert not torch.equal(network(features, LENGTHS).logits, network(features, LENGTHS).logits)
    network.eval()
    assert torch.equal(network(features, LENGTHS).logits, network(features, LENGTHS).logits)


def test_other_cells_and_layers_are_refused() -> None:
    with pytest.raises(ValueError, match="cell 'sru': set cell to rnn, lstm, gru"):
        tiny("sru")
    with pytest.raises(ValueError, match=r"intermediate_layers=\[2\]: set numbers from 1 to 1"):
        tiny(intermediate_layers=[2])


def test_onnx_runtime_agrees_for_any_length(tmp_path: Path) -> None:
    assert_onnx_runtime_agrees(settled(tiny()), 10, tmp_path / "network.onnx")
