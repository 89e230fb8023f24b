"""The frontend of a vocoder as one ONNX file, waveform in, mel out: with it a recording can be said again."""

from __future__ import annotations

import onnx
import torch
from torch import Tensor, nn

from kd_lightning.deploy.acoustic_file import MEL
from kd_lightning.deploy.graph import exported_graph
from kd_lightning.frontend.mel import Mel

WAVEFORM = "waveform"


class Mels(nn.Module):
    """Mels (1, bins, frames) of waveforms (1, T)."""

    def __init__(self, frontend: Mel) -> None:
        super().__init__()
        self.frontend = frontend

    def forward(self, waveform: Tensor) -> Tensor:
        mel: Tensor = self.frontend(waveform)
        return mel


def mel_to_onnx(frontend: Mel) -> onnx.ModelProto:
    """Export a frontend.

    ``waveform`` (1, frames * hop_length) float32 in [-1, 1], for any number of frames -> ``mel`` (1, bins, frames)
    float32, natural logarithm. What is no whole number of hops is followed by zeros.

    Raises:
        ValueError: the exporter cannot write it.
    """
    hops = torch.export.Dim("frames", min=2)
    example = {WAVEFORM: torch.randn(1, 20 * frontend.hop_length) * 0.1}
    return exported_graph(Mels(frontend), "Mel", example, [MEL], {WAVEFORM: {1: frontend.hop_length * hops}})
