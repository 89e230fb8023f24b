"""Networks that tell recordings from what vocoders say."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm


class Judgement(NamedTuple):
    """What several discriminators say of the same waveforms.

    Attributes:
        scores: (B, ...) of each discriminator, one for each part of the waveform that it looks at; high for recordings.
        features: (B, ...) activations of all layers but the last, of one discriminator after another.
    """

    scores: list[Tensor]
    features: list[Tensor]


class MultiPeriodDiscriminator(nn.Module):
    """Looks at every p-th sample, for several periods p.

    Kong et al., "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis", NeurIPS
    2020. The default arguments are the paper's: 41.1M parameters.

    Args:
        periods: in samples.
        width: channels of the first layer; later ones have 4, 16, 32 and 32 times as many.
    """

    def __init__(self, periods: Sequence[int] = (2, 3, 5, 7, 11), width: int = 32) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(_PeriodDiscriminator(period, width) for period in periods)

    def forward(self, waveform: Tensor) -> Judgement:
        """Judge waveforms (B, T), T longer than any period."""
        return _judged(self.discriminators, waveform)


class MultiResolutionDiscriminator(nn.Module):
    """Looks at the amplitude of spectra, of several lengths and steps.

    Jang et al., "UnivNet: A Neural Vocoder with Multi-Resolution Spectrogram Discriminators for High-Fidelity Waveform
    Generation", Interspeech 2021; Vocos has one too. The default arguments are the paper's.

    Args:
        resolutions: FFT, hop and window of each spectrum, in samples.
        width: channels of the layers.
    """

    def __init__(
        self,
        resolutions: Sequence[Sequence[int]] = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)),
        width: int = 32,
    ) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(
            _SpectrumDiscriminator(fft, hop, window, width) for fft, hop, window in resolutions
        )

    def forward(self, waveform: Tensor) -> Judgement:
        """Judge waveforms (B, T), T longer than half an FFT."""
        return _judged(self.discriminators, waveform)


def _judged(discriminators: nn.ModuleList, waveform: Tensor) -> Judgement:
    judgement = Judgement([], [])
    for discriminator in discriminators:
        *features, scores = discriminator(waveform)
        judgement.scores.append(scores)
        judgement.features.extend(features)
    return judgement


class _Discriminator(nn.Module):
    """2-D convolutions over an image of the waveform, with leaky ReLUs in between.

    Args:
        layers: all of them; the last has one channel.
        slope: of the ReLUs below 0.
    """

    def __init__(self, layers: Sequence[nn.Conv2d], slope: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(weight_norm(layer) for layer in layers)
        self.slope = slope

    def forward(self, waveform: Tensor) -> list[Tensor]:
        """Activations of all layers on waveforms (B, T); the last are the scores, (B, positions)."""
        activation, activations = self._image(waveform), []
        *earlier, last = self.layers
        for layer in earlier:
            activation = functional.leaky_relu(layer(activation), self.slope)
            activations.append(activation)
        return [*activations, last(activation).flatten(start_dim=1)]

    def _image(self, waveform: Tensor) -> Tensor:
        """Maps (B, T) to (B, 1, height, width)."""
        raise NotImplementedError


class _PeriodDiscriminator(_Discriminator):
    """Convolves over every p-th sample: each column of the image is a phase of the period."""

    def __init__(self, period: int, width: int) -> None:
        widths = [1, *(width * times for times in (1, 4, 16, 32, 32))]
        strides = (3, 3, 3, 3, 1)
        layers = [
            nn.Conv2d(inputs, outputs, (5, 1), (stride, 1), padding=(2, 0))
            for (inputs, outputs), stride in zip(pairwise(widths), strides, strict=True)
        ]
        super().__init__([*layers, nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0))], slope=0.1)
        self.period = period

    def _image(self, waveform: Tensor) -> Tensor:
        missing = -waveform.shape[1] % self.period
        return functional.pad(waveform, (0, missing), "reflect").unflatten(1, (-1, self.period))[:, None]


class _SpectrumDiscriminator(_Discriminator):
    """Convolves over frequency and time of an amplitude spectrum, and halves the time."""

    window: Tensor

    def __init__(self, fft_length: int, hop_length: int, window_length: int, width: int) -> None:
        layers = [
            nn.Conv2d(1, width, (3, 9), padding=(1, 4)),
            *(nn.Conv2d(width, width, (3, 9), (1, 2), padding=(1, 4)) for _ in range(3)),
            nn.Conv2d(width, width, (3, 3), padding=1),
            nn.Conv2d(width, 1, (3, 3), padding=1),
        ]
        super().__init__(layers, slope=0.2)
        self.fft_length = fft_length
        self.hop_length = hop_length
        self.register_buffer("window", torch.hann_window(window_length), persistent=False)

    def _image(self, waveform: Tensor) -> Tensor:
        # Half precision has no FFT, and too few digits for it.
        with torch.autocast(waveform.device.type, enabled=False):
            spectrum = torch.stft(
                waveform.float(),
                self.fft_length,
                self.hop_length,
                len(self.window),
                window=self.window,
                return_complex=True,
            )
            return spectrum.abs()[:, None]
