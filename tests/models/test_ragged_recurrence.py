"""Recurrent layers over ragged batches: torch's own states of each utterance alone, and ONNX's."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kd_lightning.models.ragged_recurrence import recurrent_states

LENGTHS = torch.tensor([4, 9, 1])
LAYERS = [
    nn.RNN(3, 6, batch_first=True, bidirectional=True),
    nn.RNN(3, 6, batch_first=True, nonlinearity="relu"),
    nn.LSTM(3, 6, batch_first=True, bidirectional=True),
    nn.LSTM(3, 6, batch_first=True),
    nn.GRU(3, 6, batch_first=True, bidirectional=True),
]
each_layer = pytest.mark.parametrize("layer", LAYERS, ids=str)


class States(nn.Module):
    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        return recurrent_states(self.layer, frames, lengths)


@each_layer
def test_states_are_those_of_each_utterance_alone(layer: nn.RNNBase) -> None:
    frames = torch.randn(3, 9, 3)
    together = recurrent_states(layer, frames, LENGTHS)
    assert together.shape == (3, 9, 12 if layer.bidirectional else 6)
    for index, length in enumerate(LENGTHS):
        alone, _ = layer(frames[index : index + 1, :length])
        torch.testing.assert_close(together[index : index + 1, :length], alone)


@each_layer
def test_in_onnx_it_is_one_node_for_any_batch_and_length(layer: nn.RNNBase, tmp_path: Path) -> None:
    onnxruntime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    path, module = tmp_path / "layer.onnx", States(layer).eval()
    torch.onnx.export(
        module,
        (torch.zeros(2, 5, 3), torch.tensor([5, 5])),
        path,
        dynamo=True,
        input_names=["frames", "lengths"],
        output_names=["states"],
        dynamic_shapes={"frames": {0: "batch", 1: "frames"}, "lengths": {0: "batch"}},
        verbose=False,
    )
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count(type(layer).__name__) == 1
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    frames = torch.randn(3, 9, 3)
    (states,) = session.run(None, {"frames": frames.numpy(), "lengths": LENGTHS.numpy()})
    with torch.no_grad():
        expected = module(frames, LENGTHS)
    for found, wanted, length in zip(torch.from_numpy(states), expected, LENGTHS, strict=True):
        torch.testing.assert_close(found[:length], wanted[:length], rtol=0, atol=1e-5)
