"""An acoustic network together with the mel that it speaks: sentences in, mel out."""

from torch import Tensor, nn

from kd_lightning.frontend.mel import Mel
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded, Sentences
from kd_lightning.models.waveform_model import WaveformModel


class AcousticModel(WaveformModel):
    """A network that speaks, and the frontend that says what its mels mean.

    Args:
        frontend: maps (B, T) waveforms to (B, bins, frames) mels.
        network: maps sentences, and how they were spoken, to an
            :class:`~kd_lightning.models.acoustic_output.AcousticOutput`. A published one says in its ``mel`` which mels
            it speaks.

    Raises:
        ValueError: the frontend gives no mels to speak, or a published network speaks others.
    """

    frontend: Mel

    def __init__(self, frontend: Mel, network: nn.Module) -> None:
        super().__init__(frontend, network)
        if not isinstance(frontend, Mel):
            raise ValueError(
                f"{type(frontend).__name__} is heard and not spoken: choose frontend=mel_16k, mel_22k or mel_24k"
            )
        spoken, heard = getattr(network, "mel", frontend.settings), frontend.settings
        differ = [
            f"{key}: {spoken[key]}, here {heard.get(key)}" for key in spoken if spoken[key] != heard.get(key)
        ]
        if differ:
            raise ValueError(
                f"{type(network).__name__} speaks mels of its own ({'; '.join(differ)}): choose a frontend of "
                "these settings (frontend=mel_22k has those of networks for LJ Speech)"
            )

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
