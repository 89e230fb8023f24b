"""Several teachers that speak with one voice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_lightning.frontend.features import SpecMasks
from kd_lightning.models.waveform_model import KeywordOutput, WaveformModel


class Features:
    """The features of one batch by frontend: equal frontends run once, whoever asks.

    Args:
        waveform: (B, T) float32 in [-1, 1].
        masks: stretches of the features to hide, in training.
        samples: (B,) int64, valid samples of utterances of different lengths; ``None`` where all are as long.
    """

    def __init__(
        self, waveform: Tensor, masks: SpecMasks | None = None, samples: Tensor | None = None
    ) -> None:
        self.waveform = waveform
        self.masks = masks
        self.samples = samples
        self._computed: list[tuple[nn.Module, Tensor]] = []

    def __call__(self, frontend: nn.Module) -> Tensor:
        """What a frontend makes of the batch, (B, bins, frames)."""
        for other, features in self._computed:
            if other.settings == frontend.settings:
                return features
        if self.samples is None:
            features = frontend(self.waveform, self.masks)
        else:
            features = frontend(self.waveform, self.masks, self.samples)
        self._computed.append((frontend, features))
        return features

    def frames(self, frontend: Any) -> Tensor:
        """(B,) int64, frames of each utterance behind a frontend."""
        assert self.samples is not None
        frames: Tensor = frontend.frames(self.samples)
        return frames


class Ensemble(nn.Module):
    """The mean of the members' probabilities (Hinton et al. 2015, section 2; Fukuda et al. 2017).

    Its logits are log(mean of softmax), so their softmax is that mean. Members may have different networks and
    frontends; there are no activations to hint with, because no layer is common to them.

    Args:
        members: networks that score the same classes in the same order.
    """

    def __init__(self, members: Sequence[WaveformModel]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, waveform: Tensor, masks: SpecMasks | None = None) -> KeywordOutput:
        """Score clips (B, T); logits (B, C) float32."""
        return self.classify(Features(waveform, masks))

    def classify(self, features: Features) -> KeywordOutput:
        """What the members say together of a batch; logits (B, C) float32."""
        scores = torch.stack([self._log_probabilities(member, features) for member in self.members])
        # log((e^a + e^b) / 2) without leaving the logarithms: a probability of e^-100 stays one.
        return KeywordOutput(scores.logsumexp(dim=0) - math.log(len(scores)))

    @staticmethod
    def _log_probabilities(member: Any, features: Features) -> Tensor:
        output: KeywordOutput = member.classify(features(member.frontend))
        return output.logits.float().log_softmax(dim=1)
