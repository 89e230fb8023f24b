"""The log-mel spectrogram of speech synthesis: what acoustic networks say and vocoders hear."""

import math
import warnings

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.frontend.features import Samples, SpecMasks

# Tacotron 2's floor of the mel amplitude, and its logarithm: what silence and padding are.
LEAST_AMPLITUDE = 1e-5
SILENCE = math.log(LEAST_AMPLITUDE)
# Midway to full scale, near the mean of speech: where a network that has learnt nothing starts.
TYPICAL = SILENCE / 2


class Mel(nn.Module):
    """Natural logarithm of the mel amplitude, at least :data:`SILENCE`.

    Shen et al., "Natural TTS Synthesis by Conditioning WaveNet on Mel Spectrogram Predictions", ICASSP 2018 (Tacotron
    2): amplitude, not power; Hann window; mel bands of Slaney's scale and of equal area, which are librosa's. Level is
    kept: ten times the amplitude adds ln 10.

    Frame i hears the ``fft_length`` samples around the middle of the i-th hop, so that each frame stands for
    ``hop_length`` samples of its own, and a vocoder turns ``frames`` frames into ``frames * hop_length`` samples.
    Beyond the ends of an utterance all is zero. In a ragged batch every utterance has the mel that it has alone, and
    beyond its end exactly :data:`SILENCE`.

    Args:
        sample_rate: of the waveforms, in Hz.
        window_length: of the analysis window, in samples.
        hop_length: step between frames, in samples.
        fft_length: in samples; the window is padded with zeros on both sides up to it.
        bins: number of mel bands.
        low_hz: lower edge of the lowest band.
        high_hz: upper edge of the highest band, at most half the sample rate.

    Attributes:
        settings: by which two frontends are told apart.
        filters: (fft_length / 2 + 1, bins) float32, weights of the bands.
        window: (window_length,) float32.

    Raises:
        ValueError: if the band edges do not fit the sample rate, a band is too narrow to hold an FFT bin, or window,
            hop and FFT do not fit one another.
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 22050,
        window_length: int = 1024,
        hop_length: int = 256,
        fft_length: int = 1024,
        bins: int = 80,
        low_hz: float = 0.0,
        high_hz: float = 8000.0,
    ) -> None:
        super().__init__()
        if not 0 <= low_hz < high_hz <= sample_rate / 2:
            raise ValueError(
                f"mel bands from {low_hz} to {high_hz} Hz do not fit audio of {sample_rate} Hz: "
                f"set 0 <= low_hz < high_hz <= {sample_rate / 2:g} in the frontend"
            )
        if not 0 < hop_length <= window_length <= fft_length or (fft_length - hop_length) % 2:
            raise ValueError(
                f"hop_length={hop_length}, window_length={window_length} and fft_length={fft_length}: set "
                "hop_length <= window_length <= fft_length in the frontend, hop and FFT both even or both odd"
            )
        self.sample_rate = sample_rate
        self.window_length = window_length
        self.hop_length = hop_length
        self.hop_seconds = hop_length / sample_rate
        self.fft_length = fft_length
        self.bins = bins
        self.settings: dict[str, float | int | str] = {
            "frontend": type(self).__name__,
            "sample_rate": sample_rate,
            "window_length": window_length,
            "hop_length": hop_length,
            "fft_length": fft_length,
            "bins": bins,
            "low_hz": low_hz,
            "high_hz": high_hz,
        }
        # Derived from the settings, so not part of the weights.
        filters = _slaney_filters(fft_length // 2 + 1, low_hz, high_hz, bins, sample_rate)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(window_length), persistent=False)

    def frames(self, num_samples: Samples) -> Samples:
        """Number of frames of a waveform of ``num_samples`` samples, or of each of several (B,): hops begun."""
        return -(-num_samples // self.hop_length)

    def forward(
        self, waveform: Tensor, masks: SpecMasks | None = None, lengths: Tensor | None = None
    ) -> Tensor:
        """Compute the mels of a batch of utterances.

        Args:
            waveform: (B, T) float32 in [-1, 1], zero beyond each utterance's end.
            masks: ignored: a network that speaks is not to guess what it should say.
            lengths: (B,) int64, samples of each utterance; ``None`` where all have T.

        Returns:
            (B, bins, frames) float32, also under autocast.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            mel = self._mel(waveform.float())
        if lengths is None:
            return mel
        heard = torch.arange(mel.shape[2], device=mel.device) < self.frames(lengths)[:, None]
        return torch.where(heard[:, None, :], mel, SILENCE)

    def _mel(self, waveform: Tensor) -> Tensor:
        sides = (self.fft_length - self.hop_length) // 2
        tail = -waveform.shape[1] % self.hop_length
        spectrum = torch.stft(
            functional.pad(waveform, (sides, sides + tail)),
            self.fft_length,
            self.hop_length,
            self.window_length,
            window=self.window,
            center=False,
            return_complex=True,
        )
        # With its gradient, abs() takes two thirds of the time of the root of a sum of squares; its slope at 0 is 0.
        mel = (spectrum.abs().transpose(1, 2) @ self.filters).transpose(1, 2)
        return mel.clamp(min=LEAST_AMPLITUDE).log()


def _slaney_filters(spectrum_bins: int, low_hz: float, high_hz: float, bins: int, sample_rate: int) -> Tensor:
    """Triangular filters (spectrum_bins, bins) of equal area, float32."""
    with warnings.catch_warnings():
        # torchaudio only warns about an empty band; here it is an error.
        warnings.simplefilter("ignore", UserWarning)
        filters = torchaudio.functional.melscale_fbanks(
            spectrum_bins, low_hz, high_hz, bins, sample_rate, norm="slaney", mel_scale="slaney"
        )
    empty = int((filters.amax(dim=0) == 0).sum())
    if empty:
        raise ValueError(
            f"{empty} of {bins} mel bands are narrower than the spectrum's resolution of "
            f"{sample_rate / (2 * (spectrum_bins - 1)):.0f} Hz: set fewer bins or a longer fft_length"
        )
    return filters
