"""Taps: activations by module path, and no trace of the hooks."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from kd_lightning.models.taps import Taps
from kd_lightning.models.tc_resnet import TCResNet

FEATURES = torch.randn(2, 40, 101, generator=torch.Generator().manual_seed(0))


class Pair(NamedTuple):
    name: str
    hidden: Tensor
    other: Tensor


class Returns(nn.Module):
    """Returns what it was told, with the input as its tensor."""

    def __init__(self, form: type) -> None:
        super().__init__()
        self.form = form

    def forward(self, hidden: Tensor) -> object:
        if self.form is dict:
            return {"hidden": hidden, "other": hidden + 1}
        if self.form is tuple:
            return hidden, hidden + 1
        if self.form is list:
            return [("named", {"inner": hidden}), hidden + 1]
        return Pair("named", hidden, hidden + 1) if self.form is Pair else "no tensor"


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def test_outputs_are_those_of_the_modules() -> None:
    network = TCResNet(40, 12).eval()
    with Taps(network, ["stem", "blocks.1"]) as hidden:
        network(FEATURES)
    stem = network.stem(network.norm(FEATURES))
    assert torch.equal(hidden["stem"], stem)
    assert torch.equal(hidden["blocks.1"], network.blocks[1](network.blocks[0](stem)))


def test_gradients_flow_through_a_tapped_output() -> None:
    network = TCResNet(40, 12)
    with Taps(network, ["blocks.2"]) as hidden:
        network(FEATURES)
    hidden["blocks.2"].sum().backward()
    weight = network.get_parameter("stem.0.weight")
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    assert network.head.weight.grad is None


def test_taps_serve_every_step_and_keep_steps_apart() -> None:
    network = TCResNet(40, 12).eval()
    taps = Taps(network, ["blocks.0"])
    collected = []
    for scale in (1.0, 2.0, 3.0):
        with taps as hidden:
            network(scale * FEATURES)
        collected.append(hidden["blocks.0"])
        assert hooks(network) == 0
    for scale, output in zip((1.0, 2.0, 3.0), collected, strict=True):
        assert torch.equal(output, network.blocks[0](network.stem(network.norm(scale * FEATURES))))


def test_hooks_are_gone_after_an_exception_and_it_is_not_replaced() -> None:
    network = TCResNet(40, 12)
    taps = Taps(network, ["blocks.0", "head"])
    handle = network.blocks.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt), taps:
        network(FEATURES)
    handle.remove()
    assert hooks(network) == 0
    with taps as hidden:
        network(FEATURES)
    assert set(hidden) == {"blocks.0", "head"}


def test_a_path_that_does_not_exist_is_answered_with_close_ones() -> None:
    with pytest.raises(
        ValueError, match=r"TCResNet has no module 'block\.2' to tap; close matches: blocks\.2.*transfer"
    ):
        Taps(TCResNet(40, 12), ["stem", "block.2"])
    with pytest.raises(ValueError, match="its top modules: norm, stem, blocks, dropout, head"):
        Taps(TCResNet(40, 12), ["?"])
    with pytest.raises(ValueError, match="no module ''"):
        Taps(TCResNet(40, 12), [""])


@pytest.mark.parametrize("form", [tuple, Pair, dict, list])
def test_the_first_tensor_of_a_structured_output_is_taken(form: type) -> None:
    network = nn.Sequential(Returns(form))
    with Taps(network, ["0"]) as hidden:
        network(FEATURES)
    assert hidden["0"] is FEATURES


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_come_batch_first_packed_or_not(cell: type[nn.RNNBase], batch_first: bool) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(cell(5, 7, batch_first=batch_first)).eval()
    sequences = torch.randn(3, 6, 5)
    lengths = [4, 6, 2]  # not sorted, as in a batch
    alone = [
        network(sequence[None, :length] if batch_first else sequence[:length, None])[0].reshape(length, 7)
        for sequence, length in zip(sequences, lengths, strict=True)
    ]
    given = sequences if batch_first else sequences.transpose(0, 1)
    with Taps(network, ["0"]) as hidden:
        network(pack_padded_sequence(given, lengths, batch_first=batch_first, enforce_sorted=False))
    packed = hidden["0"]
    assert not isinstance(packed, PackedSequence)
    assert packed.shape == (3, 6, 7)
    for output, states, length in zip(packed, alone, lengths, strict=True):
        torch.testing.assert_close(output[:length], states)
        assert output[length:].eq(0).all()
    with Taps(network, ["0"]) as hidden:
        network(given)
    assert hidden["0"].shape == (3, 6, 7)
    torch.testing.assert_close(hidden["0"][0, :4], alone[0])


def test_outputs_without_tensors_and_modules_that_never_run_are_refused() -> None:
    with (
        pytest.raises(TypeError, match=r"tapped module 0 \(Returns\) returned no tensor"),
        Taps(network := nn.Sequential(Returns(str)), ["0"]),
    ):
        network(FEATURES)
    assert hooks(network) == 0
    with pytest.raises(ValueError, match="never ran: head"), Taps(idle := TCResNet(40, 12), ["stem", "head"]):
        idle.stem(FEATURES)
    assert hooks(idle) == 0


def test_taps_are_not_entered_twice_at_once() -> None:
    network = TCResNet(40, 12)
    taps = Taps(network, ["stem"])
    with taps:
        with pytest.raises(RuntimeError, match="collecting already"), taps:
            pass
        network(FEATURES)
    assert hooks(network) == 0
