"""A network together with the frontend it eats: waveform in, named outputs out."""

from typing import NamedTuple

from torch import Tensor, nn

from kd_lightning.frontend.features import LogMel, SpecMasks
from kd_lightning.frontend.mel import Mel
from kd_lightning.frontend.raw_waveform import RawWaveform


class KeywordOutput(NamedTuple):
    """What a keyword network says about each clip.

    Attributes:
        logits: (B, C) unnormalised log-probabilities of the classes.
        distillation_logits: (B, C) of a second head that listens to the teacher alone (a distillation token, Touvron
            et al. 2021); in training only, ``None`` for other networks.
    """

    logits: Tensor
    distillation_logits: Tensor | None = None


class WaveformModel(nn.Module):
    """Features, then a network: the unit that is trained, measured and exported.

    Args:
        frontend: maps (B, T) waveforms to (B, bins, frames) features.
        network: maps those features to its outputs, or to plain logits (B, C), which any ``nn.Module`` may; a keyword
            network hears a fixed window of one second.
    """

    def __init__(self, frontend: LogMel | RawWaveform | Mel, network: nn.Module) -> None:
        super().__init__()
        self.frontend = frontend
        self.network = network

    def forward(self, waveform: Tensor, masks: SpecMasks | None = None) -> KeywordOutput:
        """Score clips.

        Args:
            waveform: (B, T) float32 in [-1, 1], at the frontend's sample rate.
            masks: stretches of the features to hide, in training.

        Returns:
            The network's outputs, logits (B, C).
        """
        return self.classify(self.frontend(waveform, masks))

    def classify(self, features: Tensor) -> KeywordOutput:
        """What the network says of features (B, bins, frames)."""
        output = self.network(features)
        return KeywordOutput(output) if isinstance(output, Tensor) else output
