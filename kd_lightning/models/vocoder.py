"""A vocoder together with the mel that it speaks from: mel in, waveform out."""

from torch import Tensor

from kd_lightning.frontend.mel import Mel
from kd_lightning.models.waveform_model import WaveformModel


class Vocoder(WaveformModel):
    """A network that turns mels into waveforms, and the frontend that says what its mels mean.

    Args:
        frontend: maps (B, T) waveforms to (B, bins, frames) mels, a whole number of samples a frame.
        network: maps mels (B, bins, frames) to waveforms (B, frames * hop_length).
    """

    frontend: Mel

    def forward(self, mel: Tensor) -> Tensor:  # type: ignore[override]  # mels go in, not waveforms
        """Waveforms (B, frames * hop_length) of mels (B, bins, frames)."""
        waveform: Tensor = self.network(mel)
        return waveform
