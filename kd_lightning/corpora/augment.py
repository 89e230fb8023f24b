"""Augmentation of clips and utterances as a pure function of (seed, cut id, view), replayable at will.

All random numbers of a view are the bytes of one SHAKE-128 digest of (seed, cut id, view), each setting reading its
own: the batch, the worker, the rank and the ranges of the other settings cannot change them. Masks are read after the
waveform's seven, a pair each, and mixup's three after the masks.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fft

Waveform = npt.NDArray[np.float32]

_MU = 255
# The telephone band of ITU-T G.712, in Hz.
_TELEPHONE = (300.0, 3400.0)
# Active speech is what lies within this many decibels of the loudest 20 ms.
_ACTIVE_DB = 25.0
_FRAME_SECONDS = 0.02
# Time masks hide at most this share of the clip, all together.
_MASKED_SHARE = 0.25
# Numbers that the waveform's own settings read: speed, shift, gain, clean, signal-to-noise ratio, noise, telephone.
_OF_WAVEFORM = 7


class Augmented(NamedTuple):
    """A view of a clip.

    Attributes:
        waveform: (T,) float32 in [-1, 1].
        time_masks: (M, 2) float32, start and end in seconds.
        frequency_masks: (N, 2) float32, start and end as fractions of the bands in [0, 1].
    """

    waveform: Waveform
    time_masks: Waveform
    frequency_masks: Waveform


class Mix(NamedTuple):
    """What a mixed view is mixed with.

    Attributes:
        place: of the partner among all clips of the split, in [0, 1).
        share: lambda, how much of the mixture the clip itself is, in [0, 1).
    """

    place: float
    share: float


class NoiseBank:
    """Background noise to mix in, left where it is mapped.

    Args:
        audio: (S,) int16, mapped.
        spans: (first sample, samples) of each stretch of noise in it. Without any, the noise is white.
    """

    def __init__(self, audio: npt.NDArray[np.int16], spans: list[tuple[int, int]]) -> None:
        self._audio = audio
        self._spans = spans
        self._ends = np.cumsum([length for _, length in spans])

    def draw(self, place: float, length: int) -> Waveform:
        """The stretch (length,) of noise at ``place`` in [0, 1); longer spans are met more often."""
        if not self._spans:
            seed = int(place * 2**53)
            return np.random.Generator(np.random.Philox(key=seed)).standard_normal(length, np.float32)
        at = place * self._ends[-1]
        number = int(np.searchsorted(self._ends, at, side="right"))
        start, available = self._spans[number]
        within = 1 - (self._ends[number] - at) / available
        offset = int(within * max(available - length + 1, 1))
        noise = self._audio[start + offset : start + offset + min(length, available)].astype(np.float32)
        return np.resize(noise, length)


class Augment:
    """Speed, shift, gain, noise, telephone and SpecAugment masks, in that order.

    Speed and shift are one affine map of time with linear interpolation; what comes from outside the clip is
    silent. Gain is applied to the speech before noise is mixed in at a signal-to-noise ratio against the
    level of the active speech, so it says how loud both are. Telephone is the band 300-3400 Hz and 8-bit mu-
    law (G.711). A waveform that leaves [-1, 1] is scaled back.

    Mixup (Zhang et al. 2018) needs a second clip, so it is not part of the call: :meth:`mix` says whether a view is
    mixed, with whom and how much, and :func:`mixed` does it. Partner and lambda, uniform in [0, 1) as in Beyer et al.,
    "Knowledge distillation: A good teacher is patient and consistent", 2022, belong to the view like all else, so a
    stored view can be replayed. No one label says what a mixture is: those of mixed clips are hidden.

    Args:
        seed: of all draws.
        shift: largest shift either way, in seconds.
        speed: slowest and fastest speed (1 is as it is).
        gain: lowest and highest gain, in dB.
        snr: lowest and highest signal-to-noise ratio, in dB.
        clean: share of views without noise.
        telephone: share of views through the telephone.
        time_masks: number of masks in time (Park et al. 2019).
        time_mask: longest of them, in seconds; together they never hide more than a quarter of the clip.
        frequency_masks: number of masks in frequency.
        frequency_mask: widest of them, as a fraction of the bands.
        mixup: share of views that are mixed with another clip.
        keep_length: whether a view is as long as its clip, as networks that hear a fixed window need; otherwise a view
            at speed s has T / s samples, and nothing is cut off or shifted.
        sample_rate: of the waveforms, in Hz.

    Raises:
        ValueError: a range is upside down, or a share is outside [0, 1].
    """

    def __init__(
        self,
        seed: int = 0,
        shift: float = 0.1,
        speed: Sequence[float] = (0.9, 1.1),
        gain: Sequence[float] = (-6.0, 6.0),
        snr: Sequence[float] = (0.0, 20.0),
        clean: float = 0.25,
        telephone: float = 0.1,
        time_masks: int = 2,
        time_mask: float = 0.1,
        frequency_masks: int = 2,
        frequency_mask: float = 0.2,
        mixup: float = 0.0,
        keep_length: bool = True,
        sample_rate: int = 16000,
    ) -> None:
        for name, ends in {"speed": speed, "gain": gain, "snr": snr}.items():
            if len(ends) != 2:
                raise ValueError(f"augment.{name}={list(ends)}: give its two ends, [lowest, highest]")
            if ends[0] > ends[1]:
                raise ValueError(f"augment.{name}: the lower end {ends[0]} is above the upper end {ends[1]}")
        shares = {"clean": clean, "telephone": telephone, "frequency_mask": frequency_mask, "mixup": mixup}
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"augment.{name}={share} is not in [0, 1]")
        if speed[0] <= 0 or shift < 0 or time_mask < 0:
            raise ValueError("augment.speed must be above 0, augment.shift and augment.time_mask at least 0")
        if not keep_length and (shift or mixup):
            raise ValueError("augment.shift and augment.mixup are for clips of one length: set both to 0")
        self.seed = seed
        self.shift, self.speed, self.gain, self.snr = shift, speed, gain, snr
        self.clean, self.telephone = clean, telephone
        self.time_masks, self.time_mask = time_masks, time_mask
        self.frequency_masks, self.frequency_mask = frequency_masks, frequency_mask
        self.mixup = mixup
        self.keep_length = keep_length
        self.sample_rate = sample_rate

    @property
    def settings(self) -> dict[str, Any]:
        """All of the above as plain values, of a subclass too: with cut and view they say what a view is."""
        public = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return dict(json.loads(json.dumps(public, default=vars)))

    def __call__(self, waveform: Waveform, cut_id: str, view: int, noise: NoiseBank) -> Augmented:
        """View ``view`` of a clip.

        Args:
            waveform: (T,) float32 in [-1, 1]; it is left as it is.
            cut_id: names the clip.
            view: number of the view.
            noise: to mix in.
        """
        draws = self._draw(cut_id, view, 0)
        speed, shift, gain, clean, snr, place, telephone = draws[:_OF_WAVEFORM].tolist()
        if self.keep_length:
            speech = warp(
                waveform, _between(self.speed, speed), self.sample_rate * self.shift * (2 * shift - 1)
            )
        else:
            speech = stretch(waveform, _between(self.speed, speed))
        speech *= np.float32(10 ** (_between(self.gain, gain) / 20))
        if clean >= self.clean:
            heard = noise.draw(place, len(speech))
            speech += noise_gain(speech, heard, _between(self.snr, snr), self.sample_rate) * heard
        if telephone < self.telephone:
            speech = through_telephone(speech, self.sample_rate)
        peak = max(speech.max(), -speech.min())
        if peak > 1:
            speech /= peak
        return Augmented(speech, *self._masks(draws[_OF_WAVEFORM:], len(speech)))

    def speed_of(self, cut_id: str, view: int) -> float:
        """How fast view ``view`` of a clip is; without ``keep_length`` it is as many times shorter."""
        (speed,) = _uniform(f"{self.seed}/{view}/{cut_id}", 1)
        return _between(self.speed, float(speed))

    def other_masks(self, cut_id: str, view: int, samples: int) -> tuple[Waveform, Waveform]:
        """Other masks for the same view: the second of two views of one waveform.

        Args:
            cut_id: names the clip.
            view: number of the view.
            samples: length of the view.

        Returns:
            masks in time (M, 2) and in frequency (N, 2), as in :class:`Augmented`.
        """
        count = 2 * (self.time_masks + self.frequency_masks)
        return self._masks(_uniform(f"{self.seed}/{view}/{cut_id}/other", count), samples)

    def _masks(self, draws: npt.NDArray[np.float64], samples: int) -> tuple[Waveform, Waveform]:
        seconds = samples / self.sample_rate
        longest = min(self.time_mask, _MASKED_SHARE * seconds / max(self.time_masks, 1))
        pairs = draws.reshape(-1, 2)
        return (
            _masks(pairs[: self.time_masks], longest, seconds),
            _masks(pairs[self.time_masks :], self.frequency_mask, 1.0),
        )

    def mix(self, cut_id: str, view: int) -> Mix | None:
        """What view ``view`` of a clip is mixed with, the partner's own view of that number; None for nothing."""
        if self.mixup == 0:
            return None
        chance, place, share = self._draw(cut_id, view, 3)[-3:].tolist()
        return Mix(place, share) if chance < self.mixup else None

    def _draw(self, cut_id: str, view: int, more: int) -> npt.NDArray[np.float64]:
        """The numbers of waveform and masks, and ``more`` after them."""
        count = _OF_WAVEFORM + 2 * (self.time_masks + self.frequency_masks) + more
        return _uniform(f"{self.seed}/{view}/{cut_id}", count)


def mixed(waveform: Waveform, partner: Waveform, share: float) -> Waveform:
    """lambda x + (1 - lambda) x' (Zhang et al., "mixup", 2018); within [-1, 1] where both are.

    Args:
        waveform: (T,) x, the view of the clip itself.
        partner: (T,) x'.
        share: lambda in [0, 1].
    """
    return np.float32(share) * waveform + np.float32(1 - share) * partner


def warp(waveform: Waveform, speed: float, shift: float) -> Waveform:
    """Play a clip faster or slower about its middle, then move it: y(t) = x(m + speed * (t - m - shift)).

    Args:
        waveform: (T,) x; zero outside.
        speed: above 1 is faster (and higher).
        shift: in samples, later if positive.
    """
    last = len(waveform) - 1
    offset = last / 2 - speed * (last / 2 + shift)
    begin = max(0, int(np.ceil(-offset / speed)))
    end = min(last, int(np.floor((last - offset) / speed)))
    warped = np.zeros_like(waveform)
    if end < begin:
        return warped
    position = offset + speed * np.arange(begin, end + 1)
    # The last sample has no right neighbour: interpolate it from the pair that ends in it.
    left = np.clip(position.astype(np.int32), 0, last - 1)
    fraction = (position - left).astype(np.float32)
    lower = waveform[left]
    warped[begin : end + 1] = lower + fraction * (waveform[left + 1] - lower)
    return warped


def stretch(waveform: Waveform, speed: float) -> Waveform:
    """Play an utterance faster or slower: y(t) = x(speed * t), (T,) -> (T / speed,), linearly interpolated.

    Args:
        waveform: (T,) x.
        speed: above 1 is faster (and higher).
    """
    position = speed * np.arange(max(1, round(len(waveform) / speed)))
    return np.interp(position, np.arange(len(waveform)), waveform).astype(np.float32)


def active_power(waveform: Waveform, sample_rate: int) -> float:
    """Mean power of the active speech: of the 20 ms frames within 25 dB of the loudest. 0 for silence."""
    frame = min(int(_FRAME_SECONDS * sample_rate), len(waveform))
    frames = waveform[: len(waveform) // frame * frame].reshape(-1, frame)
    power = np.einsum("ft,ft->f", frames, frames) / frame
    return float(power[power >= power.max() * 10 ** (-_ACTIVE_DB / 10)].mean())


def noise_gain(speech: Waveform, noise: Waveform, snr: float, sample_rate: int) -> np.float32:
    """What to multiply noise by for active speech to lie ``snr`` dB above it; 0 if either is silent."""
    power = float(np.dot(noise, noise)) / len(noise)
    if power == 0:
        return np.float32(0)
    return np.float32(np.sqrt(active_power(speech, sample_rate) / power * 10 ** (-snr / 10)))


def through_telephone(waveform: Waveform, sample_rate: int) -> Waveform:
    """The telephone band and 8-bit mu-law: sign(x) log(1 + 255 |x|) / log(256) in 256 steps (ITU-T G.711)."""
    spectrum = scipy.fft.rfft(waveform)
    hertz = sample_rate / len(waveform)
    low, high = (round(edge / hertz) for edge in _TELEPHONE)
    spectrum[:low] = 0
    spectrum[high + 1 :] = 0
    band = scipy.fft.irfft(spectrum, len(waveform))
    peak = max(float(np.abs(band).max()), 1.0)
    code = np.rint(np.log1p(np.float32(_MU / peak) * np.abs(band)) * np.float32(127 / np.log1p(_MU)))
    return np.copysign(np.expm1(code * np.float32(np.log1p(_MU) / 127)) * np.float32(peak / _MU), band)


def _uniform(key: str, count: int) -> npt.NDArray[np.float64]:
    """``count`` numbers in [0, 1): the top 53 bits of each 8 bytes of the key's digest."""
    digest = hashlib.shake_128(key.encode()).digest(8 * count)
    return np.ldexp((np.frombuffer(digest, "<u8") >> 11).astype(np.float64), -53)


def _between(ends: Sequence[float], share: float) -> float:
    return ends[0] + share * (ends[1] - ends[0])


def _masks(draws: npt.NDArray[np.float64], longest: float, whole: float) -> Waveform:
    """Start and end (K, 2) of masks with widths uniform up to ``longest`` and anywhere in ``whole``."""
    width = draws[:, 0] * min(longest, whole)
    start = draws[:, 1] * (whole - width)
    return np.stack([start, start + width], axis=1).astype(np.float32)
