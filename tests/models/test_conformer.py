"""Conformer: counts, torchaudio's own outputs, what padding does to them, and the exported graph."""

from pathlib import Path

import pytest
import torch
import torchaudio
from ragged import LENGTHS, assert_padding_is_unheard, ragged
from torch import nn
from torch.nn import functional

from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.conformer import Conformer

TINY = {"width": 16, "heads": 2, "inner": 32, "layers": 3, "kernel": 7, "channels": 8}


def tiny(**settings: object) -> Conformer:
    return Conformer(10, 5, **(TINY | settings))  # type: ignore[arg-type]


def settled(network: nn.Module) -> nn.Module:
    """BatchNorm statistics other than the initial ones, which do nothing."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network.eval()


@pytest.mark.parametrize(
    ("width", "prediction", "published", "counted"),
    [(144, 320, 10.3e6, 8_519_464), (256, 640, 30.7e6, 26_527_720)],
    ids=["S", "M"],
)
def test_parameters_are_the_papers_without_positions_and_transducer(
    width: int, prediction: int, published: float, counted: int
) -> None:
    with torch.device("meta"):
        network = Conformer(80, 1000, width, 4, 4 * width, 16, 31, width)
        lstm = parameters(nn.LSTM(prediction, prediction))
    assert parameters(network) == counted
    # Table 1 counts besides: relative positions, projected in each layer with two biases; a transducer's LSTM, whose
    # size it gives; and a joint network and embedding, whose sizes it does not, so that a few percent stay open.
    encoder = counted - parameters(network.ctc) + 16 * (width**2 + 2 * width)
    assert 0.92 * published < encoder + lstm < published


@torch.no_grad()
def test_on_full_batches_it_is_torchaudios() -> None:
    network = settled(tiny())
    theirs = torchaudio.models.Conformer(16, 2, 32, 3, 7).eval()
    theirs.conformer_layers.load_state_dict(network.layers.state_dict())
    features, lengths = torch.randn(3, 10, 41), torch.full((3,), 41)
    expected, _ = theirs(*network.stem(features, lengths))
    torch.testing.assert_close(network.encode(features, lengths)[0], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(features, lengths).logits, network.ctc(expected), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_torchaudios_hears_padding_and_ours_does_not() -> None:
    network = settled(tiny())
    theirs = torchaudio.models.Conformer(16, 2, 32, 3, 7).eval()
    theirs.conformer_layers.load_state_dict(network.layers.state_dict())
    hidden, lengths = network.stem(ragged(10), LENGTHS)
    together, _ = theirs(hidden, lengths)
    alone, _ = theirs(hidden[1:2, : lengths[1]], lengths[1:2])
    assert (together[1, : lengths[1]] - alone[0]).abs().max() > 0.01
    assert_padding_is_unheard(network, 10, network.subsampling)


def test_intermediate_layers_are_scored_in_training_only() -> None:
    network = settled(tiny(intermediate_layers=(1, 2), dropout=0.0))
    features = ragged(10)
    assert network(features, LENGTHS).intermediate == ()
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    output = network(features, LENGTHS)
    assert [tuple(logits.shape) for logits in output.intermediate] == [tuple(output.logits.shape)] * 2
    # What a shallower Conformer of the same weights would say.
    shallow = tiny(layers=2).eval()
    shallow.load_state_dict(network.state_dict(), strict=False)
    torch.testing.assert_close(output.intermediate[1], shallow(features, LENGTHS).logits)
    with pytest.raises(ValueError, match=r"intermediate_layers=\[3\]: set numbers from 1 to 2"):
        tiny(intermediate_layers=[3])


def test_it_learns_to_write_what_it_hears() -> None:
    network, features, tokens = tiny(dropout=0.0), ragged(10), torch.tensor([[1, 2, 3], [4, 1, 4]])
    features, lengths = features[:2], LENGTHS[:2]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(60):
        output = network(features, lengths)
        scores = output.logits.log_softmax(dim=-1).transpose(0, 1)
        loss = functional.ctc_loss(scores, tokens, output.lengths, torch.tensor([3, 3]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in network.parameters())
    best = network(features, lengths).logits.argmax(dim=-1)
    written = [best[i, :n].unique_consecutive() for i, n in enumerate(output.lengths)]
    assert [line[line > 0].tolist() for line in written] == tokens.tolist()


@pytest.mark.slow  # 10 seconds
def test_onnx_runtime_agrees_for_any_number_of_frames(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = settled(tiny(layers=2))
    path = tmp_path / "network.onnx"
    torch.onnx.export(
        network,
        (torch.zeros(1, 10, 40), torch.tensor([40])),
        path,
        dynamo=True,
        input_names=["features", "lengths"],
        output_names=["logits", "frames"],
        dynamic_shapes={"features": {2: "frames"}, "lengths": None},
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for frames in (40, 101, 7):
        features, lengths = torch.randn(1, 10, frames), torch.tensor([frames])
        logits, count = session.run(None, {"features": features.numpy(), "lengths": lengths.numpy()})
        with torch.no_grad():
            expected = network(features, lengths)
        torch.testing.assert_close(torch.from_numpy(logits), expected.logits, rtol=0, atol=1e-4)
        assert count.tolist() == expected.lengths.tolist()
