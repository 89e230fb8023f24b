"""Log-mel and MFCC features, computed on the waveform's device and exported inside the network's graph.

Level is relative: each clip's log-mel is measured against that clip's own loudest bin and floored a fixed
number of decibels below it, so neither the microphone's gain nor the rest of the batch changes the features.
"""

import math
import warnings
from typing import NamedTuple, TypeVar

import torch
import torchaudio
from torch import Tensor, nn

# Mel power below which a clip counts as silent: 20 dB under the rounding noise of 16-bit audio in [-1, 1].
SILENCE = 1e-10
# Of a band that hardly changes, where the whole range is 2: a standard deviation of a quarter of a decibel in 50.
_LEAST_VARIANCE = 1e-4
# torch's names.
_PADDINGS = {"reflect": "reflect", "zeros": "constant"}

Samples = TypeVar("Samples", int, Tensor)


class SpecMasks(NamedTuple):
    """Stretches of time and frequency to hide (SpecAugment, Park et al. 2019); one of no width hides nothing.

    Attributes:
        time: (B, M, 2) float32, start and end of each mask in seconds. M may be 0.
        frequency: (B, N, 2) float32, start and end as fractions of the mel bands in [0, 1]. N may be 0.
    """

    time: Tensor
    frequency: Tensor

    def to(self, device: torch.device, non_blocking: bool = False) -> "SpecMasks":
        """The masks on a device."""
        return SpecMasks(*(spans.to(device, non_blocking=non_blocking) for spans in self))


class LogMel(nn.Module):
    """Log-mel spectrogram in [-1, 1]: 1 at the clip's loudest bin, -1 at ``floor_db`` below it and under.

    x = 1 + 20 / floor_db * log10(max(P / max P, 10^(-floor_db / 10))), where P is the mel power (HTK scale,
    Hann window) and the inner maximum is over the clip. A clip without any sound is -1 everywhere.

    In a ragged batch every utterance has the features that it has alone: its peak and the mean that masks leave are its
    own, and beyond its end is silence.

    Args:
        sample_rate: of the waveforms, in Hz.
        window_seconds: length of the analysis window; the FFT pads it with zeros to a power of two.
        hop_seconds: step between frames; frame i is centred on i * hop_seconds.
        bins: number of mel bands.
        low_hz: lower edge of the lowest band.
        high_hz: upper edge of the highest band, at most half the sample rate.
        floor_db: dynamic range kept below the clip's peak.
        padding: what the first and the last frame hear outside the clip: "reflect", the clip mirrored, or "zeros",
            which ragged batches need.

    Raises:
        ValueError: if the band edges do not fit the sample rate, a band is too narrow to hold an FFT bin, or there is
            no such padding.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        window_seconds: float = 0.03,
        hop_seconds: float = 0.01,
        bins: int = 40,
        low_hz: float = 20.0,
        high_hz: float = 7600.0,
        floor_db: float = 60.0,
        padding: str = "reflect",
    ) -> None:
        super().__init__()
        if padding not in _PADDINGS:
            raise ValueError(f"frontend.padding={padding}: there are {', '.join(_PADDINGS)}")
        if not 0 <= low_hz < high_hz <= sample_rate / 2:
            raise ValueError(
                f"mel bands from {low_hz} to {high_hz} Hz do not fit audio of {sample_rate} Hz: "
                f"set 0 <= low_hz < high_hz <= {sample_rate / 2:g} in the frontend"
            )
        self.sample_rate = sample_rate
        self.hop_seconds = hop_seconds
        self.bins = bins
        self.floor_db = floor_db
        self.padding = padding
        self.hop_length = round(hop_seconds * sample_rate)
        self.window_length = round(window_seconds * sample_rate)
        # A power of two: ONNX Runtime takes other lengths five times slower and a hundred times less exactly.
        self.fft_length = 2 ** math.ceil(math.log2(self.window_length))
        self.settings: dict[str, float | int | str] = {
            "frontend": type(self).__name__,
            "sample_rate": sample_rate,
            "window_seconds": window_seconds,
            "hop_seconds": hop_seconds,
            "bins": bins,
            "low_hz": low_hz,
            "high_hz": high_hz,
            "floor_db": floor_db,
            "padding": padding,
        }
        filters = _mel_filters(self.fft_length // 2 + 1, low_hz, high_hz, bins, sample_rate)
        # Derived from the settings, so not part of the weights.
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(self.window_length), persistent=False)

    def frames(self, num_samples: Samples) -> Samples:
        """Number of frames of a waveform of ``num_samples`` samples, or of each of several (B,)."""
        return num_samples // self.hop_length + 1

    def forward(
        self, waveform: Tensor, masks: SpecMasks | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Compute the features of a batch of clips.

        Args:
            waveform: (B, T) float32 in [-1, 1], zero beyond each clip's end; longer than half an FFT if reflected.
            masks: what to replace by the clip's mean.
            lengths: (B,) int64, samples of each clip; ``None`` where all have T.

        Returns:
            (B, bins, frames) float32, also under autocast.

        Raises:
            ValueError: if there are lengths and the padding is not zeros.
        """
        if lengths is not None and self.padding != "zeros":
            raise ValueError("utterances of different lengths need frontend.padding=zeros")
        with torch.autocast(waveform.device.type, enabled=False):
            return self._features(waveform.float(), masks, lengths)

    def _features(self, waveform: Tensor, masks: SpecMasks | None, lengths: Tensor | None) -> Tensor:
        spectrum = torch.stft(
            waveform,
            self.fft_length,
            self.hop_length,
            self.window_length,
            window=self.window,
            center=True,
            pad_mode=_PADDINGS[self.padding],
            return_complex=True,
        )
        # Not abs().square(): the square root in between costs half of the whole frontend.
        power = spectrum.real.square() + spectrum.imag.square()
        mel = (power.transpose(1, 2) @ self.filters).transpose(1, 2)
        if lengths is not None:
            heard = torch.arange(mel.shape[2], device=mel.device) < self.frames(lengths)[:, None]
            mel = mel * heard[:, None, :]
        peak = mel.amax(dim=(1, 2), keepdim=True).clamp(min=SILENCE)
        relative = (mel / peak).clamp(min=10 ** (-self.floor_db / 10))
        features = 1 + 20 / self.floor_db * relative.log10()
        if lengths is None:
            features = self._scaled(features)
            return features if masks is None else self._masked(features, masks)
        features = self._scaled(features, heard)
        if masks is None:
            return features
        return torch.where(heard[:, None, :], self._masked(features, masks, heard), features)

    def _scaled(self, features: Tensor, heard: Tensor | None = None) -> Tensor:
        """Features (B, bins, frames), of which ``heard`` (B, frames) are valid, as networks are to see them."""
        return features

    def _masked(self, features: Tensor, masks: SpecMasks, heard: Tensor | None = None) -> Tensor:
        bins, frames = features.shape[1:]
        seconds = torch.arange(frames, device=features.device) * self.hop_seconds
        bands = (torch.arange(bins, device=features.device) + 0.5) / bins
        hidden = _covered(bands, masks.frequency)[:, :, None] | _covered(seconds, masks.time)[:, None, :]
        if heard is None:
            mean = features.mean(dim=(1, 2), keepdim=True)
        else:
            total = torch.einsum("bmf,bf->b", features, heard.to(features.dtype))
            mean = (total / (bins * heard.sum(dim=1)))[:, None, None]
        return torch.where(hidden, mean, features)


class NormalisedLogMel(LogMel):
    """:class:`LogMel` of which each band of each utterance has mean 0 and variance 1 over its frames.

    Noise and room, that change little within an utterance, then change little of its features (Viikki and Laurila,
    "Cepstral domain segmental feature vector normalization for noise robust speech recognition", Speech Communication
    25, 1998). Masks hide by that mean, 0, which is also what lies beyond an utterance's end. The arguments are those of
    :class:`LogMel`.
    """

    def _scaled(self, features: Tensor, heard: Tensor | None = None) -> Tensor:
        valid = torch.ones_like(features[:, :1]) if heard is None else heard[:, None, :].to(features.dtype)
        frames = valid.sum(dim=2, keepdim=True)
        centred = (features - (features * valid).sum(dim=2, keepdim=True) / frames) * valid
        variance = centred.square().sum(dim=2, keepdim=True) / frames
        return centred * (variance + _LEAST_VARIANCE).rsqrt()


class MFCC(LogMel):
    """Mel-frequency cepstral coefficients: the orthonormal DCT-II of :class:`LogMel` over its bands.

    Masks hide bands and frames of the log-mel spectrogram, before the DCT mixes its bands.

    Args:
        bins: number of mel bands under the DCT; afterwards ``self.bins`` is the number of coefficients.
        coefficients: how many of the lowest coefficients to keep, at most ``bins``.

    The other arguments are those of :class:`LogMel`.

    Raises:
        ValueError: if there are more coefficients than bands.
    """

    dct: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        window_seconds: float = 0.03,
        hop_seconds: float = 0.01,
        bins: int = 40,
        low_hz: float = 20.0,
        high_hz: float = 7600.0,
        floor_db: float = 60.0,
        padding: str = "reflect",
        coefficients: int = 40,
    ) -> None:
        super().__init__(sample_rate, window_seconds, hop_seconds, bins, low_hz, high_hz, floor_db, padding)
        if not 1 <= coefficients <= bins:
            raise ValueError(
                f"{coefficients} coefficients of {bins} mel bands: set 1 <= coefficients <= bins"
            )
        self.settings["coefficients"] = coefficients
        self.bins = coefficients
        dct = torchaudio.functional.create_dct(coefficients, bins, norm="ortho")
        self.register_buffer("dct", dct, persistent=False)

    def _features(self, waveform: Tensor, masks: SpecMasks | None, lengths: Tensor | None) -> Tensor:
        return self.dct.mT @ super()._features(waveform, masks, lengths)


def _mel_filters(spectrum_bins: int, low_hz: float, high_hz: float, bins: int, sample_rate: int) -> Tensor:
    """Triangular filters (spectrum_bins, bins), float32."""
    with warnings.catch_warnings():
        # torchaudio only warns about an empty band; here it is an error.
        warnings.simplefilter("ignore", UserWarning)
        filters = torchaudio.functional.melscale_fbanks(spectrum_bins, low_hz, high_hz, bins, sample_rate)
    empty = int((filters.amax(dim=0) == 0).sum())
    if empty:
        raise ValueError(
            f"{empty} of {bins} mel bands are narrower than the spectrum's resolution of "
            f"{sample_rate / (2 * (spectrum_bins - 1)):.0f} Hz: set fewer bins or a longer window_seconds"
        )
    return filters


def _covered(points: Tensor, spans: Tensor) -> Tensor:
    """Whether each of the points (P,) lies in one of an item's spans (B, M, 2): (B, P) bool."""
    start, end = spans[..., 0, None], spans[..., 1, None]
    return ((start <= points) & (points < end)).any(dim=1)
