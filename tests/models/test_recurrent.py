"""Recurrent networks: published sizes, what they pool, and what attention weighs."""

import warnings
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.recurrent import CELLS, DotAttention, RecurrentNetwork

FEATURES = torch.randn(4, 40, 101, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("cell", "hidden", "kilobytes"),
    [
        ("lstm", 118, 63.3),
        ("lstm", 214, 196.5),
        ("lstm", 344, 494.5),
        ("gru", 154, 78.8),
        ("gru", 250, 200.0),
        ("gru", 400, 499.7),
    ],
)
def test_parameters_are_within_two_percent_of_the_papers(cell: str, hidden: int, kilobytes: float) -> None:
    # Table 5 of Zhang et al. 2017: a byte for each weight, and under 1 % for activations; 10 MFCC, 12 classes.
    network = RecurrentNetwork(10, 12, cell, hidden, attention=False)
    assert parameters(network) - parameters(network.norm) == pytest.approx(1000 * kilobytes, rel=0.02)


def test_a_plain_rnn_has_one_matrix_an_input_and_one_a_state() -> None:
    network = RecurrentNetwork(40, 12, "rnn", hidden=50, attention=False)
    recurrent = 40 * 50 + 50 * 50 + 2 * 50  # torch has a bias for either
    assert parameters(network) == 2 * 40 + recurrent + 50 * 12 + 12


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_without_attention_the_last_state_of_each_direction_is_classified(
    cell: str, bidirectional: bool
) -> None:
    network = RecurrentNetwork(40, 5, cell, 8, layers=2, bidirectional=bidirectional, attention=False).eval()
    _, last = network.recurrent(network.norm(FEATURES).transpose(1, 2))
    last = last[0] if cell == "lstm" else last  # an LSTM also returns its cell
    state = torch.cat((last[-2], last[-1]), dim=1) if bidirectional else last[-1]
    torch.testing.assert_close(network(FEATURES).logits, network.head(state))


def test_attention_is_unscaled_dot_product_attention_with_one_query() -> None:
    attention, states, summary = DotAttention(6), torch.randn(3, 20, 6), torch.randn(3, 6)
    query = attention.query(summary).unsqueeze(1)
    expected = functional.scaled_dot_product_attention(query, states, states, scale=1.0).squeeze(1)
    torch.testing.assert_close(attention(states, summary), expected)


def test_attention_finds_the_frame_that_it_asks_for() -> None:
    attention, states = DotAttention(4), torch.zeros(1, 30, 4)
    states[0, 17] = torch.tensor([0.0, 0.0, 0.0, 50.0])
    with torch.no_grad():
        attention.query.weight.zero_()
        attention.query.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    torch.testing.assert_close(attention(states, torch.randn(1, 4))[0], states[0, 17])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_logits_of_a_clip_do_not_depend_on_its_batch(cell: str, bidirectional: bool) -> None:
    network = RecurrentNetwork(40, 12, cell, hidden=16, layers=2, bidirectional=bidirectional).eval()
    together = network(FEATURES).logits
    assert together.shape == (4, 12)
    torch.testing.assert_close(together[1:2], network(FEATURES[1:2]).logits)


@pytest.mark.parametrize("cell", CELLS)
def test_it_tells_clips_apart_after_a_few_steps(cell: str) -> None:
    features, labels = torch.randn(8, 10, 20), torch.arange(8) % 4
    network = RecurrentNetwork(10, 4, cell, hidden=32)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(40):
        loss = functional.cross_entropy(network(features).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_dropout_only_acts_in_training_and_one_layer_brings_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = RecurrentNetwork(40, 12, hidden=16, dropout=0.5)
    assert not torch.equal(network(FEATURES).logits, network(FEATURES).logits)
    network.eval()
    assert torch.equal(network(FEATURES).logits, network(FEATURES).logits)


def test_other_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="cell 'sru': set cell to rnn, lstm, gru"):
        RecurrentNetwork(40, 12, "sru")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cell", "bidirectional"), [("rnn", False), ("lstm", False), ("lstm", True), ("gru", True)]
)
def test_onnx_runtime_agrees_for_any_batch(cell: str, bidirectional: bool, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = RecurrentNetwork(10, 4, cell, hidden=8, bidirectional=bidirectional)
    network(10 * torch.randn(16, 10, 20))  # statistics other than the initial ones
    network.eval()
    torch.onnx.export(
        network,
        (torch.zeros(2, 10, 20),),
        tmp_path / "network.onnx",
        dynamo=True,
        input_names=["features"],
        output_names=["logits"],
        dynamic_shapes={"features": {0: "batch"}},
        verbose=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        features = torch.randn(count, 10, 20)
        (logits,) = session.run(["logits"], {"features": features.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), network(features).logits, rtol=0, atol=1e-4)
