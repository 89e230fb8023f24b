"""Griffin-Lim: a vocoder that has nothing to learn."""

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.frontend.mel import Mel


class GriffinLim(nn.Module):
    """Finds a waveform whose spectrum has the amplitudes of a mel.

    The amplitudes are the mel's by the pseudo-inverse of its filters, the least that explain it, without the negative
    ones; the phases come from torchaudio's Griffin-Lim with momentum (Perraudin et al., "A Fast Griffin-Lim
    Algorithm", WASPAA 2013). It starts with phases of 0, so a mel has one waveform.

    Args:
        mel: the frontend whose mels are to be spoken.
        iterations: inverse and forward transforms, one each.
        momentum: 0 is the algorithm of 1984.
    """

    inverse: Tensor

    def __init__(self, mel: Mel, iterations: int = 32, momentum: float = 0.99) -> None:
        super().__init__()
        self.mel = mel
        self.iterations = iterations
        self.momentum = momentum
        self.register_buffer("inverse", torch.linalg.pinv(mel.filters), persistent=False)

    def forward(self, mel: Tensor) -> Tensor:
        """Turn mels (B, bins, frames) into waveforms (B, frames * hop_length) float32, also under autocast."""
        with torch.autocast(mel.device.type, enabled=False):
            amplitude = (mel.float().exp().transpose(1, 2) @ self.inverse).transpose(1, 2).clamp(min=0)
            return self._waveform(amplitude)

    def _waveform(self, amplitude: Tensor) -> Tensor:
        """Waveforms (B, frames * hop_length) of amplitudes (B, fft_length / 2 + 1, frames)."""
        hop, fft = self.mel.hop_length, self.mel.fft_length
        # Silence on both sides, as the frontend hears, and at least as long as torchaudio reflects there.
        sides = -(-fft // (2 * hop))
        waveform = torchaudio.functional.griffinlim(
            functional.pad(amplitude, (sides, sides)),
            self.mel.window,
            n_fft=fft,
            hop_length=hop,
            win_length=self.mel.window_length,
            power=1.0,
            n_iter=self.iterations,
            momentum=self.momentum,
            length=None,
            rand_init=False,
        )
        # torchaudio centres a frame on the beginning of its hop, the frontend on the middle.
        start = sides * hop - hop // 2
        samples = amplitude.shape[2] * hop
        return waveform[:, start : start + samples]
