"""The waveform itself, for networks that learn their own features."""

import torch
from torch import Tensor, nn

from kd_lightning.frontend.features import Samples, SpecMasks


class RawWaveform(nn.Module):
    """Hands the waveform on as it is, with the interface of :class:`~kd_lightning.frontend.features.LogMel`.

    Its ``bins`` is 1 and its frames are the samples. Masks hide stretches of a spectrogram, which this is not: networks
    behind this frontend hear the clip unmasked.

    Args:
        sample_rate: of the waveforms, in Hz.
    """

    def __init__(self, sample_rate: int = 16000) -> None:
        super().__init__()
        self.sample_rate = sample_rate
        self.bins = 1
        self.hop_seconds = 1 / sample_rate
        self.settings: dict[str, float | int | str] = {
            "frontend": type(self).__name__,
            "sample_rate": sample_rate,
        }

    def frames(self, num_samples: Samples) -> Samples:
        """Number of frames of a waveform of ``num_samples`` samples, or of each of several (B,): as many."""
        return num_samples

    def forward(
        self, waveform: Tensor, masks: SpecMasks | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Return the waveform (B, T) as float32, also under autocast; ``masks`` and ``lengths`` are ignored."""
        return waveform.to(torch.float32)
