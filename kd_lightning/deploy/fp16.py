"""Half precision for an exported network: its weights and what is computed from them, and nothing else.

What goes in and comes out stays float32, and so do the frontend, whose spectra span more than half precision can, and
all that follows the last product with weights: probabilities, spectra, samples. A file is half as large. It is faster
where there is hardware for it; ONNX Runtime on a CPU casts most operators back to float32 and is no faster there.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from kd_lightning.deploy.graph import network_nodes, nodes_to_products

GREATEST = float(np.finfo(np.float16).max)
# Nodes whose weights are halved.
PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")
# Sizes and durations are counted, not measured: 2049 has no half.
_COUNTS = ("Range", "CumSum", "Shape", "Size")


def to_fp16(exported: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of an exported graph whose network computes in half precision.

    Args:
        exported: from :func:`~kd_lightning.deploy.onnx_file.to_onnx` and its like.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(exported)
    graph = halved.graph
    of_network = {node.name for node in network_nodes(halved)}
    inside = {
        node.name
        for node in nodes_to_products(halved, PRODUCTS)
        if node.name in of_network and node.op_type not in _COUNTS and not _has_body(node)
    }
    floats = _floats(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    made: dict[str, str] = {}  # by a tensor's name: that of its half
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name not in inside:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            if name not in floats:
                continue
            if name not in made:
                made[name] = f"{name}_half"
                if name in weights:
                    graph.initializer.append(_half(weights[name], made[name]))
                else:
                    nodes.append(_cast(name, made[name], TensorProto.FLOAT16))
            node.input[place] = made[name]
        _compute_in_half(node)
        nodes.append(node)
        for place, name in enumerate(node.output):
            if name in floats:
                made[name] = node.output[place] = f"{name}_half"
                nodes.append(_cast(made[name], name, TensorProto.FLOAT))
    _keep(graph, nodes)
    return halved


def _compute_in_half(node: onnx.NodeProto) -> None:
    """Turn what a node's attributes say of floats."""
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16
        elif attribute.t.data_type == TensorProto.FLOAT:
            attribute.t.CopyFrom(_half(attribute.t, attribute.t.name))


def _half(tensor: TensorProto, name: str) -> TensorProto:
    """A constant in half precision, what is finite stays so: masks add the least float there is."""
    array = numpy_helper.to_array(tensor)
    clipped = np.where(np.isfinite(array), np.clip(array, -GREATEST, GREATEST), array)
    return numpy_helper.from_array(clipped.astype(np.float16), name)


def _cast(name: str, to: str, kind: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [name], [to], name=f"cast_{to}_{kind}", to=kind)


def _floats(graph: onnx.GraphProto) -> set[str]:
    """Names of the tensors that are float32."""
    told = {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.output, *graph.value_info)
    }
    constants = {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name for name, kind in (told | constants).items() if kind == TensorProto.FLOAT}


def _has_body(node: onnx.NodeProto) -> bool:
    """Whether it is a loop or a branch, which has a graph of its own."""
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _keep(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> None:
    """Leave these nodes in the graph, without casts and constants that nobody reads."""
    kept: list[onnx.NodeProto] = []
    read = {value.name for value in graph.output}
    for node in reversed(list(nodes)):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
            read.update(_read_in_bodies(node))
    constants = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(constants)


def _read_in_bodies(node: onnx.NodeProto) -> set[str]:
    """What the loops and branches of a node read, some of it from around them."""
    bodies = [body for attribute in node.attribute for body in (attribute.g, *attribute.graphs)]
    within = [inner for body in bodies for inner in body.node]
    results = {value.name for body in bodies for value in body.output}
    return results.union(*(inner.input for inner in within), *map(_read_in_bodies, within))
