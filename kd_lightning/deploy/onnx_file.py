"""A network with its frontend inside as one ONNX file: waveform in, scores of classes or of tokens out."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.waveform_model import WaveformModel

# Where torch's exporter notes the modules that a node came from, outermost first: "['', 'model', 'model.network', …]".
SCOPES = "pkg.torch.onnx.name_scopes"
INPUT = "waveform"
SCORES, LOG_PROBABILITIES = "scores", "log_probabilities"


class Scores(nn.Module):
    """Class scores (B, C) that sum to 1, of waveforms (B, T)."""

    def __init__(self, model: WaveformModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> Tensor:
        return self.model(waveform).logits.softmax(dim=1)


class LogProbabilities(nn.Module):
    """Log-probabilities of tokens (B, frames, V) by CTC, of utterances (B, T) that are all as long."""

    def __init__(self, model: Recogniser) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> Tensor:
        logits = self.model(waveform).logits
        assert logits is not None
        return logits.log_softmax(dim=2)


def to_onnx(model: WaveformModel, clip_samples: int) -> onnx.ModelProto:
    """Export a network with its frontend.

    Of a keyword spotter: ``waveform`` (B, T) float32 in [-1, 1] -> ``scores`` (B, C), summing to 1, for any B. Of a
    recogniser: ``waveform`` (1, T) -> ``log_probabilities`` (1, frames, V) by CTC, for any T.

    Args:
        model: in eval mode.
        clip_samples: length T of every waveform, or that of an example.

    Returns:
        the graph, each node with the modules that it came from: see :func:`network_nodes`.

    Raises:
        ValueError: the network does not speak by CTC, or the exporter cannot write it.
    """
    if not isinstance(model, Recogniser):
        # A batch of two: the exporter would take a batch of one for a constant.
        return _exported(Scores(model), SCORES, torch.randn(2, clip_samples) * 0.1, {0: "batch"})
    name = type(model.network).__name__
    if model.writes:
        raise ValueError(
            f"{name} writes with an attention decoder, a token at a time, which is no one graph: export a student with "
            "a CTC layer alone, such as QuartzNet, Citrinet, DeepSpeech, RecurrentRecogniser, TimmRecogniser, "
            "Conformer or TransformerEncoder"
        )
    try:
        return _exported(
            LogProbabilities(model), LOG_PROBABILITIES, torch.randn(1, clip_samples) * 0.1, {1: "samples"}
        )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(f"torch cannot write {name} as a graph: {str(error).splitlines()[0]}") from error


def _exported(model: nn.Module, output: str, example: Tensor, dynamic: dict[int, str]) -> onnx.ModelProto:
    program = torch.onnx.export(
        model.eval(),
        (example,),
        dynamo=True,
        input_names=[INPUT],
        output_names=[output],
        dynamic_shapes=({axis: torch.export.Dim(name) for axis, name in dynamic.items()},),
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


def save(
    exported: onnx.ModelProto, path: Path, classes: Sequence[str], sample_rate: int, **properties: object
) -> None:
    """Write the graph without the exporter's notes, which hold lines of source code and where they lie.

    The file's metadata says the classes (or pieces of tokens), in the order of the scores, the sample rate, and what
    else is given, as JSON.
    """
    for noted in (exported.graph, *exported.graph.node, *exported.graph.value_info):
        del noted.metadata_props[:]
    for noted in (*exported.graph.input, *exported.graph.output, *exported.graph.initializer):
        del noted.metadata_props[:]
    told = {"classes": list(classes), "sample_rate": sample_rate} | properties
    onnx.helper.set_model_props(exported, {key: json.dumps(value) for key, value in told.items()})
    onnx.save(exported, str(path))
