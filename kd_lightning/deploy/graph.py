"""Graphs of torch's exporter: made, looked into, and written."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

# Where torch's exporter notes the modules that a node came from, outermost first: "['', 'model', 'model.network', …]".
SCOPES = "pkg.torch.onnx.name_scopes"
_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")


def exported_graph(
    model: nn.Module,
    name: str,
    example: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, Any]],
) -> onnx.ModelProto:
    """What torch's exporter makes of a module.

    Args:
        model: whose ``model.network`` is the network.
        name: of the network, for the message.
        example: inputs by name, in the order of the module's arguments.
        outputs: their names.
        dynamic: axes of any length, by input: their names, or expressions of ``torch.export.Dim``.

    Raises:
        ValueError: the exporter cannot write it; names the operator that ONNX lacks.
    """
    lengths = tuple(
        {axis: torch.export.Dim(named) if isinstance(named, str) else named for axis, named in axes.items()}
        for axes in (dynamic.get(key, {}) for key in example)
    )
    try:
        program = torch.onnx.export(
            model.eval(),
            tuple(example.values()),
            dynamo=True,
            input_names=list(example),
            output_names=list(outputs),
            dynamic_shapes=lengths,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(f"{name} cannot be written as an ONNX graph: {_reason(error)}") from error
    assert program is not None
    exported: onnx.ModelProto = program.model_proto
    return exported


def _reason(error: BaseException) -> str:
    """What kept the exporter from writing a graph: the operator that ONNX lacks, or what the first cause says."""
    while error.__cause__ is not None:
        error = error.__cause__
    message = str(error)
    if lacking := _OPERATOR.search(message):
        return (
            f"ONNX has no operator for {lacking[1]}; compute that from others in the network's forward, or choose "
            "another student"
        )
    return message.strip().splitlines()[0] if message.strip() else type(error).__name__


def network_nodes(exported: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes inside the model's ``network``: neither its frontend nor the softmax after it.

    Raises:
        RuntimeError: the exporter left no note of the modules.
    """
    nodes = [node for node in exported.graph.node if any(map(_is_network, _scopes(node)))]
    if not nodes:
        raise RuntimeError(f"no node of the exported graph says under {SCOPES} that it is the network's")
    return nodes


def nodes_to_products(exported: onnx.ModelProto, kinds: Collection[str]) -> list[onnx.NodeProto]:
    """The network's products with weights, and all nodes on the way to one, in the graph's order.

    What follows the last of them is left out: probabilities, and of a vocoder spectra and samples.

    Args:
        exported: a graph.
        kinds: of nodes that are products.
    """
    constants = {tensor.name for tensor in exported.graph.initializer}
    of_network = {node.name for node in network_nodes(exported)}
    nodes: list[onnx.NodeProto] = []
    wanted: set[str] = set()
    for node in reversed(exported.graph.node):
        # A product of two activations is attention's.
        has_weights = node.op_type != "MatMul" or not constants.isdisjoint(node.input)
        is_product = node.name in of_network and node.op_type in kinds and has_weights
        if is_product or wanted.intersection(node.output):
            nodes.append(node)
            wanted.update(node.input)
    return nodes[::-1]


def _is_network(scope: str) -> bool:
    return scope == "model.network" or scope.startswith("model.network.")


def _scopes(node: onnx.NodeProto) -> list[str]:
    notes = [note.value for note in node.metadata_props if note.key == SCOPES]
    return list(ast.literal_eval(notes[0])) if notes else []


def save(
    exported: onnx.ModelProto, path: Path, classes: Sequence[str], sample_rate: int, **properties: object
) -> None:
    """Write the graph without the exporter's notes, which hold lines of source code and where they lie.

    The file's metadata says the classes (or pieces of tokens) by number, where there are any, the sample rate, and what
    else is given, as JSON.
    """
    for noted in (exported.graph, *exported.graph.node, *exported.graph.value_info):
        del noted.metadata_props[:]
    for noted in (*exported.graph.input, *exported.graph.output, *exported.graph.initializer):
        del noted.metadata_props[:]
    named: dict[str, object] = {"classes": list(classes)} if classes else {}
    told = named | {"sample_rate": sample_rate} | properties
    onnx.helper.set_model_props(exported, {key: json.dumps(value) for key, value in told.items()})
    onnx.save(exported, str(path))
