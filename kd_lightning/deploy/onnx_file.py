"""A network with its frontend inside as one ONNX file: waveform in, class scores out."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from kd_lightning.models.waveform_model import WaveformModel

# Where torch's exporter notes the modules that a node came from, outermost first: "['', 'model', 'model.network', …]".
SCOPES = "pkg.torch.onnx.name_scopes"
INPUT, OUTPUT = "waveform", "scores"


class Scores(nn.Module):
    """Class scores (B, C) that sum to 1, of waveforms (B, T)."""

    def __init__(self, model: WaveformModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> Tensor:
        return self.model(waveform).logits.softmax(dim=1)


def to_onnx(model: WaveformModel, clip_samples: int) -> onnx.ModelProto:
    """Export with a dynamic batch: ``waveform`` (B, T) float32 in [-1, 1] -> ``scores`` (B, C), summing to 1.

    Args:
        model: the network with its frontend, in eval mode.
        clip_samples: length T of every waveform.

    Returns:
        the graph, each node with the modules that it came from: see :func:`network_nodes`.
    """
    # A batch of two: the exporter would take a batch of one for a constant.
    example = torch.randn(2, clip_samples) * 0.1
    program = torch.onnx.export(
        Scores(model).eval(),
        (example,),
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    exported: onnx.ModelProto = program.model_proto
    return exported


def network_nodes(exported: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes inside the model's ``network``: neither its frontend nor the softmax after it.

    Raises:
        RuntimeError: the exporter left no note of the modules.
    """
    nodes = [node for node in exported.graph.node if "model.network" in _scopes(node)]
    if not nodes:
        raise RuntimeError(f"no node of the exported graph says under {SCOPES} that it is the network's")
    return nodes


def _scopes(node: onnx.NodeProto) -> list[str]:
    notes = [note.value for note in node.metadata_props if note.key == SCOPES]
    return list(ast.literal_eval(notes[0])) if notes else []


def save(exported: onnx.ModelProto, path: Path, classes: Sequence[str], sample_rate: int) -> None:
    """Write the graph without the exporter's notes, which hold lines of source code and where they lie.

    The file's metadata says the classes, in the order of the scores, and the sample rate.
    """
    for noted in (exported.graph, *exported.graph.node, *exported.graph.value_info):
        del noted.metadata_props[:]
    for noted in (*exported.graph.input, *exported.graph.output, *exported.graph.initializer):
        del noted.metadata_props[:]
    properties = {"classes": json.dumps(list(classes)), "sample_rate": str(sample_rate)}
    onnx.helper.set_model_props(exported, properties)
    onnx.save(exported, str(path))
