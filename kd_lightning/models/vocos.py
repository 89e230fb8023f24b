"""Vocos: a vocoder that predicts the spectrum of each frame, and leaves the samples to an inverse Fourier transform.

Siuzdak, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders for high-quality audio
synthesis", ICLR 2024.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

_MOST_AMPLITUDE = 100.0
_NORM_EPSILON = 1e-6


class Vocos(nn.Module):
    """ConvNeXt blocks over the frames of a mel, and magnitude and phase of each of them.

    The default arguments are the paper's network, but for its 100 bins. All layers run once a frame, so a sample hears
    ``3 * (layers + 1)`` frames of the mel on each side of its own, and those whose inverse transforms overlap there.
    Beyond the ends of a mel the network hears zeros. Hints can tap ``blocks``: (B, frames, channels).

    Args:
        bins: of the mel.
        hop_length: samples of a frame, at most half of ``fft_length``.
        channels: of the blocks.
        hidden_channels: between the two linear layers of a block.
        layers: number of blocks.
        fft_length: samples of a frame's spectrum, even; 4 hops in the paper.

    Raises:
        ValueError: if hop and FFT do not fit.
    """

    def __init__(
        self,
        bins: int,
        hop_length: int,
        channels: int = 512,
        hidden_channels: int = 1536,
        layers: int = 8,
        fft_length: int = 1024,
    ) -> None:
        super().__init__()
        self.embedding = nn.Conv1d(bins, channels, _Block.KERNEL, padding=_Block.KERNEL // 2)
        self.embedding_norm = nn.LayerNorm(channels, eps=_NORM_EPSILON)
        self.blocks = nn.ModuleList(_Block(channels, hidden_channels, 1 / layers) for _ in range(layers))
        self.norm = nn.LayerNorm(channels, eps=_NORM_EPSILON)
        self.spectrum = nn.Linear(channels, fft_length + 2)
        self.inverse = InverseSTFT(fft_length, hop_length)
        self.apply(_initialise)

    def forward(self, mel: Tensor) -> Tensor:
        """Turn mels (B, bins, frames) into waveforms (B, frames * hop_length) float32, also under autocast."""
        hidden = self.embedding_norm(self.embedding(mel).transpose(1, 2))
        for block in self.blocks:
            hidden = block(hidden)
        hidden = self.norm(hidden)
        # A phase in bfloat16 is off by up to half a degree, and an FFT has no such precision.
        with torch.autocast(mel.device.type, enabled=False):
            log_magnitude, phase = self.spectrum(hidden.float()).chunk(2, dim=2)
            magnitude = log_magnitude.clamp(max=math.log(_MOST_AMPLITUDE)).exp()
            waveform: Tensor = self.inverse(magnitude * phase.cos(), magnitude * phase.sin())
        return waveform


class _Block(nn.Module):
    """A convolution over time for each channel, then two linear layers for each frame, beside a shortcut.

    Liu et al., "A ConvNet for the 2020s", CVPR 2022, in one dimension.

    Args:
        channels: in and out.
        hidden_channels: between the linear layers.
        scale: with which each channel of the branch begins.
    """

    KERNEL = 7

    def __init__(self, channels: int, hidden_channels: int, scale: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, self.KERNEL, padding=self.KERNEL // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=_NORM_EPSILON)
        self.expand = nn.Linear(channels, hidden_channels)
        self.project = nn.Linear(hidden_channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, frames, channels) to the same shape."""
        branch = self.norm(self.conv(hidden.transpose(1, 2)).transpose(1, 2))
        branch = self.project(functional.gelu(self.expand(branch)))
        return hidden + self.scale * branch


class InverseSTFT(nn.Module):
    """Waveforms of spectra, with as many hops as there are frames.

    Griffin and Lim, "Signal Estimation from Modified Short-Time Fourier Transform", IEEE TASSP 1984, eq. 6: the
    windowed inverse transforms are added where they overlap, and divided by the sum of the squared windows. Frame i is
    centred on the middle of the i-th hop, as those of :class:`~kd_lightning.frontend.mel.Mel` are; `torch.istft` has no
    such padding, because it asks that the windows overlap in what is cut off, too.

    An exported graph holds real numbers alone: ONNX's DFT takes and gives them in pairs.

    Args:
        fft_length: length of the Hann window and of the transform, even.
        hop_length: step between frames, even, at most half of ``fft_length``.

    Raises:
        ValueError: if hop and FFT do not fit.
    """

    window: Tensor

    def __init__(self, fft_length: int, hop_length: int) -> None:
        super().__init__()
        if not 0 < 2 * hop_length <= fft_length or fft_length % 2 or hop_length % 2:
            raise ValueError(
                f"fft_length={fft_length} for hops of {hop_length} samples: set an even fft_length of at least "
                "two hops, and an even hop_length in the frontend"
            )
        self.fft_length = fft_length
        self.hop_length = hop_length
        # Derived from the settings, so not part of the weights.
        self.register_buffer("window", torch.hann_window(fft_length), persistent=False)

    def forward(self, real: Tensor, imaginary: Tensor) -> Tensor:
        """Turn spectra (B, frames, fft_length / 2 + 1) float32 into waveforms (B, frames * hop_length)."""
        pieces = torch.fft.irfft(torch.complex(real, imaginary), self.fft_length)
        weights = self.window.square().expand(1, pieces.shape[1], -1)
        return self._overlapped(pieces * self.window) / self._overlapped(weights)

    def _overlapped(self, pieces: Tensor) -> Tensor:
        """Add pieces (B, frames, fft_length) a hop apart, and cut what is not in a hop of a frame's own."""
        hop, frames = self.hop_length, pieces.shape[1]
        # Hops of all pieces that lie k hops after their piece's beginning, side by side, make one line of samples. This
        # takes half of the time of functional.fold.
        hops = functional.pad(pieces, (0, -self.fft_length % hop)).unflatten(2, (-1, hop)).unbind(2)
        lines = [functional.pad(line, (0, 0, k, len(hops) - 1 - k)) for k, line in enumerate(hops)]
        sides = (self.fft_length - hop) // 2
        return sum(lines[1:], lines[0]).flatten(start_dim=1)[:, sides : sides + frames * hop]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
