"""Speech synthesis as it is heard: the score of the vocoder's waveform, not of the mel that it was made of."""

from __future__ import annotations

import torch

from kd_lightning.corpora.spoken_batches import SpokenBatch
from kd_lightning.distillers.speaking import Said
from kd_lightning.distillers.spoken import Spoken
from kd_lightning.distillers.synthesis import SynthesisDistiller


class HeardSynthesis(SynthesisDistiller):
    """Scores text to waveform: two networks at once, an acoustic one and a vocoder that speaks from predicted mels.

    The mel that is compared with the recording's is that of the waveform, which holds the errors of both.

    Args:
        arguments: see :class:`~kd_lightning.distillers.synthesis.SynthesisDistiller`.
    """

    @torch.no_grad()
    def say(self, batch: SpokenBatch) -> list[Said]:
        return [said._replace(spoken=self._heard(said.spoken)) for said in super().say(batch)]

    def _heard(self, one: Spoken) -> Spoken:
        """What was said, with the mel that its waveform has."""
        waveform = torch.from_numpy(one.waveform).to(self.device)
        return one._replace(mel=self.student.frontend(waveform[None])[0].cpu().numpy())
