"""Does a recogniser understand what a network says? The round trip from text to speech to text."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from kd_lightning.distillers.recognition import decode
from kd_lightning.frontend.text import scoring_form
from kd_lightning.frontend.tokens import decoder_of
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.teachers.ensemble import Features


class RoundTrip(nn.Module):
    """A recogniser that listens to what synthesis says; it should have learnt from none of the voices.

    Args:
        recogniser: finished, frozen here.
        classes: its tokens.
        language: in whose form its words are scored.
    """

    def __init__(self, recogniser: Recogniser, classes: Sequence[str], language: str) -> None:
        super().__init__()
        self.recogniser = recogniser.requires_grad_(False).eval()
        self.language = language
        self._read = decoder_of(classes)

    @torch.no_grad()
    def forward(self, waveforms: Sequence[Tensor], sample_rate: int) -> list[str]:
        """What it hears in waveforms (T,), in the form that is scored.

        Args:
            waveforms: of any length, on any device.
            sample_rate: theirs, in Hz.
        """
        rate = self.recogniser.frontend.sample_rate
        device = next(self.recogniser.parameters()).device
        heard = [
            torchaudio.functional.resample(waveform.to(device), sample_rate, rate) for waveform in waveforms
        ]
        samples = torch.tensor([len(waveform) for waveform in heard], device=device)
        features = Features(pad_sequence(heard, batch_first=True), None, samples)
        said = [self._read(one.tokens) for one in decode(self.recogniser, features)]
        return [scoring_form(text, self.language) for text in said]

    def train(self, mode: bool = True) -> RoundTrip:
        return super().train(False)
