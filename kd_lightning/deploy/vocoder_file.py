"""A vocoder as one ONNX file, mel in, waveform out; and such a file in its network's place."""

from __future__ import annotations

from copy import deepcopy

import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from kd_lightning.deploy.acoustic_file import MEL
from kd_lightning.deploy.difference import greatest
from kd_lightning.deploy.graph import exported_graph
from kd_lightning.models.vocoder import Vocoder
from kd_lightning.models.waveform_flow import WaveformFlow

NOISE, WAVEFORM = "noise", "waveform"
_FRAMES = 20  # of the example


class Waveforms(nn.Module):
    """Waveforms (1, frames * hop_length) of mels (1, bins, frames), of a flow also of noise as long."""

    def __init__(self, model: Vocoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, mel: Tensor, noise: Tensor | None = None) -> Tensor:
        if noise is None:
            waveform: Tensor = self.model(mel)
            return waveform
        network = self.model.network
        assert isinstance(network, WaveformFlow)
        return network.inverse(network.sigma * noise, mel)


def vocoder_to_onnx(model: Vocoder) -> onnx.ModelProto:
    """Export a vocoder.

    ``mel`` (1, bins, frames) float32, natural logarithm, for any number of frames -> ``waveform`` (1, frames *
    hop_length) float32 in about [-1, 1]. A flow also takes ``noise`` (1, frames * hop_length), standard normal, which
    the graph multiplies by the network's sigma: so the file is a function, and says the same again of the same.

    Args:
        model: in eval mode. A flow is exported with its weights' norms and inverses computed, and stays as it is.

    Raises:
        ValueError: the exporter cannot write the network.
    """
    network = model.network
    if isinstance(network, WaveformFlow):
        network = deepcopy(network).fuse()
    frames = torch.export.Dim("frames")
    mel = torch.zeros(1, model.frontend.bins, _FRAMES)
    return exported_graph(
        Waveforms(Vocoder(model.frontend, network)),
        type(network).__name__,
        vocoder_inputs(model, mel),
        [WAVEFORM],
        {MEL: {2: frames}, NOISE: {1: model.frontend.hop_length * frames}},
    )


def vocoder_inputs(model: Vocoder, mel: Tensor) -> dict[str, Tensor]:
    """What a file of this vocoder takes, of a mel (1, bins, frames); noise is drawn as the network draws its own."""
    if not isinstance(model.network, WaveformFlow):
        return {MEL: mel}
    return {MEL: mel, NOISE: torch.randn(1, mel.shape[2] * model.frontend.hop_length)}


class VocoderFile(nn.Module):
    """A file in the place of the network that it was made of: it says the mels of a batch one by one.

    Args:
        session: the file, opened.
        model: the network in float, in eval mode.

    Attributes:
        max_abs_difference: of a sample of the waveforms that were said, to those of the network from the same noise.
    """

    def __init__(self, session: onnxruntime.InferenceSession, model: Vocoder) -> None:
        super().__init__()
        self._session = session
        self._said = Waveforms(model)
        self.max_abs_difference = 0.0

    @torch.no_grad()
    def forward(self, mel: Tensor) -> Tensor:
        """Turn mels (B, bins, frames) into waveforms (B, frames * hop_length)."""
        return torch.cat([self._say(one[None]) for one in mel])

    def _say(self, mel: Tensor) -> Tensor:
        inputs = vocoder_inputs(self._said.model, mel)
        fed = {name: tensor.numpy() for name, tensor in inputs.items()}
        waveform = torch.from_numpy(self._session.run([WAVEFORM], fed)[0])
        self.max_abs_difference = greatest(self.max_abs_difference, waveform - self._said(**inputs))
        return waveform
