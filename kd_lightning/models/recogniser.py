"""A recognition network together with the frontend it eats: utterances in, scores of tokens out."""

from typing import Any

import torch
from torch import Tensor

from kd_lightning.frontend.features import SpecMasks
from kd_lightning.models.recognition_output import RecognitionOutput
from kd_lightning.models.waveform_model import WaveformModel


class Recogniser(WaveformModel):
    """Features, then a network that is told how long each utterance is.

    Args:
        frontend: maps (B, T) waveforms to (B, bins, frames) features; padded with zeros.
        network: maps those features and the frames (B,) of each utterance to a
            :class:`~kd_lightning.models.recognition_output.RecognitionOutput`; one with an attention decoder also takes
            the tokens said so far.
    """

    def forward(  # type: ignore[override]  # utterances have lengths, keyword clips have not
        self,
        waveform: Tensor,
        samples: Tensor | None = None,
        masks: SpecMasks | None = None,
        prefix: Tensor | None = None,
    ) -> RecognitionOutput:
        """Score utterances.

        Args:
            waveform: (B, T) float32 in [-1, 1], zero beyond each utterance's end.
            samples: (B,) int64, valid samples; ``None`` where all are.
            masks: stretches of the features to hide, in training.
            prefix: (B, U) tokens that a decoder is given to continue, padded with 0; ``None`` for none.
        """
        if samples is None:
            samples = torch.full((len(waveform),), waveform.shape[1], device=waveform.device)
        features = self.frontend(waveform, masks, samples)
        return self.recognise(features, self.frontend.frames(samples), prefix)

    def recognise(self, features: Tensor, frames: Tensor, prefix: Tensor | None = None) -> RecognitionOutput:
        """What the network says of features (B, bins, frames) with ``frames`` (B,) valid ones."""
        output: RecognitionOutput = (
            self.network(features, frames) if prefix is None else self.network(features, frames, prefix)
        )
        return output

    @property
    def writes(self) -> bool:
        """Whether the network writes with an attention decoder, which some are also built without."""
        network: Any = self.network
        return hasattr(network, "score_next") and getattr(network, "decoder", network) is not None

    @property
    def seconds_per_frame(self) -> float:
        """Time between two frames of the output, in seconds."""
        frontend: Any = self.frontend
        network: Any = self.network
        return float(frontend.hop_seconds * network.subsampling)
