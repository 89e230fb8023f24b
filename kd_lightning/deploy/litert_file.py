"""A keyword spotter as one LiteRT file (TensorFlow Lite's format), its frontend inside: waveform in, scores out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import litert_torch
import numpy as np
import torch
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import Model, ModelT
from torch import Tensor, nn

from kd_lightning.deploy.litert_operators import LiteRTOperators
from kd_lightning.deploy.onnx_file import INPUT, SCORES, Scores
from kd_lightning.models.waveform_model import WaveformModel

METADATA = "metadata.json"
_IDENTIFIER = b"TFL3"


class _Traced(nn.Module):
    """:class:`Scores` by their name, in LiteRT's operators."""

    def __init__(self, model: WaveformModel) -> None:
        super().__init__()
        self.scores = Scores(model)

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        with LiteRTOperators():
            return {SCORES: self.scores(waveform)}


def to_litert(model: WaveformModel, clip_samples: int) -> bytes:
    """Convert a keyword spotter: ``waveform`` (1, T) float32 in [-1, 1] -> ``scores`` (1, C), summing to 1.

    Args:
        model: in eval mode.
        clip_samples: length T of every waveform.

    Returns:
        the file's content; the names of its tensors say the modules that they came from.

    Raises:
        ValueError: LiteRT cannot express the network, or it is recurrent.
    """
    name = type(model.network).__name__
    if any(isinstance(part, nn.RNNBase) for part in model.modules()):
        # One of a hundred frames was not through after a quarter of an hour.
        raise ValueError(
            f"{name} is recurrent: LiteRT's converter writes out each frame and does not get done; set format=onnx"
        )
    litert_torch.config.show_progress = False
    example = {INPUT: torch.randn(1, clip_samples) * 0.1}
    try:
        converted = litert_torch.convert(_Traced(model).eval(), sample_kwargs=example)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise ValueError(f"LiteRT cannot express {name}: {first}") from error
    content: bytes = converted.model_content()
    return content


def save(content: bytes, path: Path, classes: Sequence[str], sample_rate: int, **properties: object) -> None:
    """Write a file without the converter's names of modules.

    What the file says of itself lies behind it as ``metadata.json`` in a zip archive, as TensorFlow Lite's labels do:
    ``unzip -p network_fp32.tflite metadata.json`` shows the classes by number, the sample rate, and what else is given.
    """
    model = ModelT.InitFromObj(Model.GetRootAs(content))
    for buffer in model.buffers:
        # The quantiser puts large constants behind the graph.
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    for graph in model.subgraphs:
        shown = {*graph.inputs, *graph.outputs}
        for number, tensor in enumerate(graph.tensors):
            if number not in shown:
                tensor.name = str(number)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), _IDENTIFIER)
    path.write_bytes(builder.Output())
    told = {"classes": list(classes), "sample_rate": sample_rate} | properties
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, json.dumps(told))


def metadata(path: Path) -> dict[str, Any]:
    """What a file says of itself."""
    with zipfile.ZipFile(path) as archive:
        return dict(json.loads(archive.read(METADATA)))


class LiteRTSession:
    """A file in LiteRT on one thread of the CPU, called as ONNX Runtime's sessions are.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        interpreter = Interpreter(str(path), num_threads=1)
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._output = interpreter.get_output_details()[0]["index"]

    def run(self, names: Sequence[str] | None, fed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Scores (B, C) of waveforms (B, T), one after the other; there is no other output to name."""
        return [np.concatenate([self._scores(clip[None]) for clip in fed[INPUT]])]

    def _scores(self, clip: np.ndarray) -> np.ndarray:
        self._interpreter.set_tensor(self._input, clip)
        self._interpreter.invoke()
        scores: np.ndarray = self._interpreter.get_tensor(self._output)
        return scores
