"""Static int8 of an exported network: QuantizeLinear and DequantizeLinear around what ONNX Runtime computes in int8.

Weights are symmetric with one scale an output channel, activations asymmetric with one scale and zero point a tensor,
found on training clips (Jacob et al. 2018; Krishnamoorthi 2018). The features are computed in float: a spectrum's
range is too wide for 256 steps. So are normalisations and non-linearities that stand alone, for which the CPU has
no int8 kernel, and all that follows the last product with weights: of a vocoder spectra and samples.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

from kd_lightning.deploy.graph import network_nodes, nodes_to_products

# Matrix products and sums in int8, and what hands int8 on between them.
PRODUCTS = ("Conv", "Gemm", "MatMul")
ARITHMETIC = (*PRODUCTS, "Add")
HANDED_ON = ("Relu", "Clip", "MaxPool", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Concat")


# What a file takes, by name.
Inputs = Mapping[str, Tensor]


class Examples(CalibrationDataReader):
    """Hands inputs of the file to the calibration, once."""

    def __init__(self, examples: Sequence[Inputs]) -> None:
        self.examples: Iterator[Inputs] = iter(examples)

    def get_next(self) -> dict[str, object] | None:
        inputs = next(self.examples, None)
        return None if inputs is None else {name: tensor.numpy() for name, tensor in inputs.items()}


def to_int8(exported: onnx.ModelProto, examples: Sequence[Inputs]) -> onnx.ModelProto:
    """Round an exported network to int8.

    The range of an activation is the mean of its least and greatest values over the examples: a mean forgives an odd
    clip, and it is what :class:`~kd_lightning.distillers.quantisation.FakeInt8` trains with.

    Args:
        exported: from :func:`~kd_lightning.deploy.onnx_file.to_onnx` and its like.
        examples: what the file takes, of the training split: waveforms (B, T), sentences, or mels.

    Raises:
        ValueError: there are no clips.
    """
    if not any(len(tensor) for inputs in examples for tensor in inputs.values()):
        raise ValueError(
            "int8 is calibrated on training clips, and there are none: give a corpus that has some (corpus.root, "
            "corpus.limit), or export precision=fp16"
        )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = Path(folder) / "network.onnx"
        # Shapes alone: its optimiser would rename the nodes, and the exporter has folded the BatchNorms.
        quant_pre_process(exported, str(path), skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            str(path),
            str(path),
            Examples(examples),
            op_types_to_quantize=[*ARITHMETIC, *HANDED_ON],
            nodes_to_quantize=rounded_nodes(exported),
            per_channel=True,
            weight_type=QuantType.QInt8,
            # On x86, signed activations take a detour. A processor without VNNI adds unsigned ones with saturation,
            # unless the session sets session.x64quantprecision=1.
            activation_type=QuantType.QUInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "CalibMovingAverage": True,
                # Logits of 256 steps would cost more than all other rounding, and the kernel's sums are 32 bits anyway.
                "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],
            },
        )
        return onnx.load(str(path))


def rounded_nodes(exported: onnx.ModelProto) -> list[str]:
    """Names of the network's nodes to round: products with weights, sums of what is int8, and what lies between."""
    constants = {tensor.name for tensor in exported.graph.initializer}
    of_network = {node.name for node in network_nodes(exported)}
    names: list[str] = []
    written: set[str] = set()  # tensors that are int8; matrix products write floats
    for node in nodes_to_products(exported, PRODUCTS):
        if node.name not in of_network or node.op_type not in (*ARITHMETIC, *HANDED_ON):
            continue
        of_constants = not constants.isdisjoint(node.input[:2])
        # Products of two activations (attention) and sums with a constant (a bias, positions) stay in float.
        if (node.op_type == "MatMul" and not of_constants) or (node.op_type == "Add" and of_constants):
            continue
        of_integers = not written.isdisjoint(node.input)
        # So do sums of floats alone: rounding shortcuts from layer to layer cost a vocoder five times as much as
        # rounding all its products, and saves nothing.
        if node.op_type == "Add" and not of_integers:
            continue
        names.append(node.name)
        if node.op_type == "Conv" or (node.op_type not in PRODUCTS and of_integers):
            written.update(node.output)
    return names
