"""An acoustic network together with the mel that it speaks: sentences in, mel out."""

from torch import Tensor

from kd_lightning.frontend.mel import Mel
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded, Sentences
from kd_lightning.models.waveform_model import WaveformModel


class AcousticModel(WaveformModel):
    """A network that speaks, and the frontend that says what its mels mean.

    Args:
        frontend: maps (B, T) waveforms to (B, bins, frames) mels.
        network: maps sentences, and how they were spoken, to an
            :class:`~kd_lightning.models.acoustic_output.AcousticOutput`.
    """

    frontend: Mel

    def forward(  # type: ignore[override]  # sentences go in, not waveforms
        self, sentences: Sentences, recorded: Recorded | None = None
    ) -> AcousticOutput:
        """Speak sentences: after what was ``recorded``, or freely where there is nothing."""
        output: AcousticOutput = self.network(sentences, recorded)
        return output

    def free(self, sentences: Sentences, frames: Tensor) -> AcousticOutput:
        """Speak freely for so many ``frames`` (B,), which a decoder can."""
        output: AcousticOutput = self.network(sentences, None, frames)
        return output

    def hear(self, waveform: Tensor, samples: Tensor) -> Recorded:
        """Recordings (B, T) with ``samples`` (B,) valid ones as mels."""
        mel = self.frontend(waveform, None, samples)
        return Recorded(mel, self.frontend.frames(samples))
