"""A network as one ONNX file. One that hears has its frontend inside: waveform in, scores of classes or tokens out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from kd_lightning.deploy.acoustic_file import acoustic_inputs, acoustic_to_onnx
from kd_lightning.deploy.graph import exported_graph
from kd_lightning.deploy.vocoder_file import vocoder_inputs, vocoder_to_onnx
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.vocoder import Vocoder
from kd_lightning.models.waveform_model import WaveformModel

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
    """Export a network.

    Of a keyword spotter: ``waveform`` (B, T) float32 in [-1, 1] -> ``scores`` (B, C), summing to 1, for any B. Of a
    recogniser: ``waveform`` (1, T) -> ``log_probabilities`` (1, frames, V) by CTC, for any T. For those that speak see
    :func:`~kd_lightning.deploy.acoustic_file.acoustic_to_onnx` and
    :func:`~kd_lightning.deploy.vocoder_file.vocoder_to_onnx`.

    Args:
        model: in eval mode.
        clip_samples: length T of every waveform, or that of an example.

    Returns:
        the graph, each node with the modules that it came from: see
        :func:`~kd_lightning.deploy.graph.network_nodes`.

    Raises:
        ValueError: the network has an attention decoder, or the exporter cannot write it.
    """
    if isinstance(model, AcousticModel):
        return acoustic_to_onnx(model)
    if isinstance(model, Vocoder):
        return vocoder_to_onnx(model)
    network = type(model.network).__name__
    if not isinstance(model, Recogniser):
        # A batch of two: the exporter would take a batch of one for a constant.
        example = {INPUT: torch.randn(2, clip_samples) * 0.1}
        return exported_graph(Scores(model), network, example, [SCORES], {INPUT: {0: "batch"}})
    if model.writes:
        raise ValueError(
            f"{network} writes with an attention decoder, a token at a time, which is no one graph: export a student "
            "with a CTC layer alone, such as QuartzNet, Citrinet, DeepSpeech, RecurrentRecogniser, TimmRecogniser, "
            "Conformer or TransformerEncoder"
        )
    example = {INPUT: torch.randn(1, clip_samples) * 0.1}
    return exported_graph(
        LogProbabilities(model), network, example, [LOG_PROBABILITIES], {INPUT: {1: "samples"}}
    )


def inputs_of(model: AcousticModel | Recogniser | Vocoder, batch: Any) -> Iterator[dict[str, Tensor]]:
    """What a file takes of a batch, one sentence or recording after the other."""
    if isinstance(model, AcousticModel):
        yield from acoustic_inputs(model, batch.sentences)
        return
    for padded, samples in zip(batch.waveform, batch.samples.tolist(), strict=True):
        waveform = padded[None, :samples]
        yield (
            {INPUT: waveform}
            if isinstance(model, Recogniser)
            else vocoder_inputs(model, model.frontend(waveform))
        )
