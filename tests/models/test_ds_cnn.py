"""DS-CNN: the paper's bytes and operations, and features of any size."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.metrics.efficiency import macs, parameters
from kd_lightning.models.ds_cnn import DSCNN

# Table 5 of Zhang et al. 2017 (10 MFCC, 49 frames, 12 classes): kilobytes of weights and activations at 8 bits, and
# millions of operations, of which a multiply-accumulate is two.
PAPER = [("s", 38.6, 5.4), ("m", 189.2, 19.8), ("l", 497.6, 56.9)]


def activation_sizes(network: nn.Module, features: Tensor) -> list[int]:
    """Numbers in the output of each convolution, in their order."""
    sizes: list[int] = []
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    handles = [
        layer.register_forward_hook(lambda module, inputs, output: sizes.append(output[0].numel()))
        for layer in layers
    ]
    network(features)
    for handle in handles:
        handle.remove()
    return sizes


@pytest.mark.parametrize(("size", "kilobytes", "operations"), PAPER)
def test_bytes_and_operations_are_the_papers(size: str, kilobytes: float, operations: float) -> None:
    network, features = DSCNN(10, 12, size).eval(), torch.randn(1, 10, 49)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    # On a microcontroller a BatchNorm is folded into the convolution before it and leaves a bias.
    folded = parameters(network) - parameters(network.norm) - sum(norm.num_features for norm in norms)
    sizes = activation_sizes(network, features)
    live = max(before + after for before, after in pairwise(sizes))
    assert (folded + live) / 1000 == pytest.approx(kilobytes, abs=0.05)
    assert 2 * macs(network, features) / 1e6 == pytest.approx(operations, rel=0.02)


@pytest.mark.parametrize(("size", "trained"), [("s", 23_180), ("m", 136_580), ("l", 413_736)])
def test_parameters_are_those_of_the_papers_code(size: str, trained: int) -> None:
    # Its convolutions have biases and its BatchNorm no scale, where ours have it the other way around.
    network = DSCNN(10, 12, size)
    assert parameters(network) - parameters(network.norm) == trained


@pytest.mark.parametrize(("bins", "frames"), [(10, 49), (40, 101), (13, 98), (1, 1)])
def test_strides_leave_the_rounded_up_share_of_any_size(bins: int, frames: int) -> None:
    features = torch.randn(2, bins, frames)
    for size, (bands, steps) in {"s": (2, 2), "m": (2, 4), "l": (2, 4)}.items():
        network = DSCNN(bins, 5, size).eval()
        hidden = network.blocks(network.stem(features.unsqueeze(1)))
        assert hidden.shape[2:] == (-(-bins // bands), -(-frames // steps))
        assert network(features).logits.shape == (2, 5)


def test_logits_of_a_clip_do_not_depend_on_its_batch() -> None:
    network = DSCNN(40, 12).eval()
    features = torch.randn(4, 40, 101)
    torch.testing.assert_close(network(features).logits[2:3], network(features[2:3]).logits)


def test_it_tells_clips_apart_after_a_few_steps() -> None:
    network, features, labels = DSCNN(10, 4), torch.randn(8, 10, 49), torch.arange(8) % 4
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(15):
        loss = functional.cross_entropy(network(features).logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="size 'xl': set size to s, m, l"):
        DSCNN(40, 12, "xl")


def test_onnx_runtime_agrees_for_any_batch(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = DSCNN(10, 4)
    network(10 * torch.randn(16, 10, 49))  # statistics other than the initial ones
    network.eval()
    torch.onnx.export(
        network,
        (torch.zeros(2, 10, 49),),
        tmp_path / "network.onnx",
        dynamo=True,
        input_names=["features"],
        output_names=["logits"],
        dynamic_shapes={"features": {0: "batch"}},
        verbose=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        features = torch.randn(count, 10, 49)
        (logits,) = session.run(["logits"], {"features": features.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), network(features).logits, rtol=0, atol=1e-4)
