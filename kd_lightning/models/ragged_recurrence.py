"""A recurrent layer over utterances of different lengths, in torch and in an exported graph."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# Of each class: ONNX's operator, and where it wants torch's gates (LSTM: i f g o, GRU: r z n).
OPERATORS: dict[type[nn.RNNBase], tuple[str, tuple[int, ...]]] = {
    nn.RNN: ("RNN", (0,)),
    nn.LSTM: ("LSTM", (0, 3, 1, 2)),
    nn.GRU: ("GRU", (1, 0, 2)),
}


def recurrent_states(layer: nn.RNNBase, frames: Tensor, lengths: Tensor) -> Tensor:
    """The states of a recurrent layer; going backwards, it starts at each utterance's own end.

    Args:
        layer: a single layer with ``batch_first`` and biases.
        frames: (B, frames, C).
        lengths: (B,) int64, valid frames, at least 1.

    Returns:
        (B, frames, D), D being the hidden size times the directions. What lies beyond an utterance's end means nothing.
    """
    if torch.onnx.is_in_onnx_export():
        return _onnx_states(layer, frames, lengths)
    if not layer.bidirectional:
        states: Tensor = layer(frames)[0]
        return states
    packed = pack_padded_sequence(frames, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=frames.shape[1])[0]


def _onnx_states(layer: nn.RNNBase, frames: Tensor, lengths: Tensor) -> Tensor:
    """One node of ONNX: the exporter would write a node for each step, of a fixed number of frames."""
    operator, order = OPERATORS[type(layer)]

    def gates(name: str) -> Tensor:
        weights: Tensor = getattr(layer, name)
        return weights.unflatten(0, (len(order), -1))[list(order)].flatten(0, 1)

    suffixes = ("_l0", "_l0_reverse") if layer.bidirectional else ("_l0",)
    biases = [torch.cat((gates(f"bias_ih{suffix}"), gates(f"bias_hh{suffix}"))) for suffix in suffixes]
    batch, length, _ = frames.shape
    settings: dict[str, Any] = {
        "hidden_size": layer.hidden_size,
        "direction": "bidirectional" if layer.bidirectional else "forward",
    }
    if isinstance(layer, nn.RNN):
        settings["activations"] = [layer.nonlinearity.capitalize()] * len(suffixes)
    if isinstance(layer, nn.GRU):
        settings["linear_before_reset"] = 1
    states = torch.onnx.ops.symbolic(
        operator,
        (
            frames.transpose(0, 1),
            torch.stack([gates(f"weight_ih{suffix}") for suffix in suffixes]),
            torch.stack([gates(f"weight_hh{suffix}") for suffix in suffixes]),
            torch.stack(biases),
            lengths.int(),
        ),
        settings,
        dtype=frames.dtype,
        shape=(length, len(suffixes), batch, layer.hidden_size),
    )
    return states.permute(2, 0, 1, 3).flatten(2)
