"""Long audio with known words in it: clips of the test split, spoken into the background noise at given SNRs.

It is made scene by scene, each a pure function of (seed, number), so hours of it take the memory of one scene, and
nothing is written. A scene is half a minute of one background: words at random places, at least half a second
between the end of a clip and the next. Every keyword comes equally often; half of the clips are other words, where
the corpus has some. The clips of a word come in turn, so each is heard about as often as any other.

Speech that dense is far from a living room: false alarms per hour compare networks on the same audio, and do not say
what a product would do.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kd_lightning.corpora.augment import Waveform, noise_gain
from kd_lightning.corpora.decoding import CLIP_SAMPLES, SAMPLE_RATE
from kd_lightning.corpora.layout import SILENCE, UNKNOWN, Split
from kd_lightning.corpora.prepared import Prepared

SCENE_SECONDS = 30
WORDS_A_SCENE = 12
GAP_SECONDS = 0.5

_SCENE = SCENE_SECONDS * SAMPLE_RATE
_FADE = SAMPLE_RATE // 100
_FRAME = SAMPLE_RATE // 100
# Speech lies within this many decibels of its loudest 10 ms, and pauses within a word are shorter than this.
_RANGE_DB = 30.0
_PAUSE_FRAMES = 10
# Numbers that keep the draws of scenes, of the order of keywords and of decks of clips apart.
_PLACES, _ORDER, _DECK = range(3)


class Spoken(NamedTuple):
    """A word that was spoken.

    Attributes:
        word: what.
        clip: id of the clip.
        onset: where its energy begins, in seconds.
        offset: where its energy ends, in seconds.
        snr: in dB.
    """

    word: str
    clip: str
    onset: float
    offset: float
    snr: float


class Scene(NamedTuple):
    """``waveform`` (T,) float32 in [-1, 1], and what is said in it; times are from the beginning of all audio."""

    waveform: Waveform
    spoken: list[Spoken]


class LongAudio:
    """Scenes of the test split.

    Args:
        prepared: the corpus.
        keywords: words that come equally often. Half of the clips are other words of the corpus, if it has any.
        minutes: how much; rounded up to whole scenes.
        snr: each scene takes the next of these signal-to-noise ratios, in dB; it is that of a clip's active speech
            (beside the noise that the clip was recorded with) to the background under its second.
        seed: of all draws.

    Attributes:
        scenes: how many.
        minutes: of all scenes together.
        noise: (first sample, samples) in the corpus's audio of the noise that no training hears; where there is none,
            the background is white noise.

    Raises:
        ValueError: no minutes, no SNR, or a keyword without a test clip.
    """

    def __init__(
        self,
        prepared: Prepared,
        keywords: Sequence[str],
        minutes: float,
        snr: Sequence[float] = (20.0, 10.0, 5.0),
        seed: int = 0,
    ) -> None:
        if not 0 < minutes < float("inf"):
            raise ValueError(f"minutes={minutes}: long audio takes more than none, and an end")
        if not keywords or not snr or not np.isfinite(snr).all():
            raise ValueError(
                f"long audio needs keywords and SNRs in dB, got {list(keywords)} and {list(snr)}"
            )
        self._prepared, self._snr, self._seed = prepared, tuple(snr), seed
        self.scenes = int(np.ceil(minutes * 60 / SCENE_SECONDS))
        self.minutes = self.scenes * SCENE_SECONDS / 60
        clips = prepared.clips
        rows = np.flatnonzero(clips["split"] == Split.TESTING)
        words = np.array(prepared.words)[clips["word"][rows]]
        self.noise = _stretches(np.sort(clips["start"][rows[words == SILENCE]]))
        self._decks = [rows[words == keyword] for keyword in keywords]
        for keyword, deck in zip(keywords, self._decks, strict=True):
            if len(deck) == 0:
                raise ValueError(
                    f"the test split of {prepared.folder} has no clip of the keyword {keyword!r}"
                )
        self._others = rows[~np.isin(words, [*keywords, SILENCE, UNKNOWN])]

    def __iter__(self) -> Iterator[Scene]:
        return (self.scene(number) for number in range(self.scenes))

    def scene(self, number: int) -> Scene:
        """Scene ``number``, whichever were asked for before.

        On average (in dB) its clips keep the level that they were recorded with; the background's follows from the
        SNR, and each clip is then brought to the SNR exactly.
        """
        rng = np.random.default_rng([self._seed, _PLACES, number])
        snr = self._snr[number % len(self._snr)]
        background = self._background(rng)
        starts = _places(rng)
        chosen = self._prepared.clips[rng.permutation(self._rows(number))]
        spoken, gains, at = [], [], []
        for record, start in zip(chosen, starts.tolist(), strict=True):
            clip = self._clip(int(record["start"]))
            gain = noise_gain(clip, background[start : start + CLIP_SAMPLES], snr, SAMPLE_RATE)
            if gain > 0:  # neither is digital silence
                begin = number * SCENE_SECONDS + start / SAMPLE_RATE
                onset, offset = (begin + end for end in word_ends(clip))
                word = self._prepared.words[record["word"]]
                spoken.append(Spoken(word, record["id"].decode(), onset, offset, snr))
                gains.append(gain)
                at.append((start, clip))
        level = np.exp(np.mean(np.log(gains))) if gains else np.float32(1)
        waveform = background * np.float32(level)
        for (start, clip), gain in zip(at, gains, strict=True):
            waveform[start : start + CLIP_SAMPLES] += clip * np.float32(level / gain)
        peak = max(waveform.max(), -waveform.min())
        return Scene(waveform / peak if peak > 1 else waveform, spoken)

    def _rows(self, number: int) -> npt.NDArray[np.int64]:
        """The clips of a scene: keywords round by round in an order drawn for each, then other words."""
        targets = WORDS_A_SCENE // 2 if len(self._others) else WORDS_A_SCENE
        rows = []
        for turn in range(number * targets, (number + 1) * targets):
            round_, place = divmod(turn, len(self._decks))
            keyword = np.random.default_rng([self._seed, _ORDER, round_]).permutation(len(self._decks))[place]
            rows.append(self._dealt(self._decks[keyword], int(keyword), round_))
        others = WORDS_A_SCENE - targets
        for turn in range(number * others, (number + 1) * others):
            rows.append(self._dealt(self._others, len(self._decks), turn))
        return np.array(rows)

    def _dealt(self, deck: npt.NDArray[np.int64], name: int, turn: int) -> int:
        """The clip of a deck at its ``turn``; the deck is shuffled anew whenever it has been dealt."""
        shuffle, place = divmod(turn, len(deck))
        return int(np.random.default_rng([self._seed, _DECK, name, shuffle]).permutation(deck)[place])

    def _clip(self, start: int) -> Waveform:
        clip = self._prepared.audio[start : start + CLIP_SAMPLES] * np.float32(1 / 32768)
        return _faded(clip)

    def _background(self, rng: np.random.Generator) -> Waveform:
        """A recording of noise, played forwards and backwards (a loop would click) until the scene is full."""
        if not self.noise:
            return _faded(rng.standard_normal(_SCENE, np.float32))
        start, length = self.noise[rng.integers(len(self.noise))]
        recording = self._prepared.audio[start : start + length] * np.float32(1 / 32768)
        begin = int(rng.integers(length))
        return _faded(np.pad(recording, (0, begin + _SCENE), mode="reflect")[begin : begin + _SCENE])


def word_ends(clip: Waveform) -> tuple[float, float]:
    """Where the word in a clip begins and ends, by its energy, in seconds.

    Speech is what lies above the middle (in dB) between the loudest 10 ms and the floor (the quietest tenth), at most
    30 dB below the loudest; the word is the speech around the loudest 10 ms without a pause of 0.1 s. Of embedded
    clips under noise of 20, 10 and 5 dB the end is found 0.08, 0.10 and 0.11 s early (median): the tail drowns.

    Args:
        clip: (T,) float32 at 16 kHz, not digital silence.
    """
    power = np.square(clip[: len(clip) // _FRAME * _FRAME]).reshape(-1, _FRAME).mean(axis=1)
    peak, floor = float(power.max()), float(np.quantile(power, 0.1))
    active = np.flatnonzero(power >= max(peak * 10 ** (-_RANGE_DB / 10), (peak * floor) ** 0.5))
    pauses = np.flatnonzero(np.diff(active) > _PAUSE_FRAMES)
    loudest = int(np.searchsorted(active, power.argmax()))
    first, last = np.split(active, pauses + 1)[int(np.searchsorted(pauses, loudest))][[0, -1]].tolist()
    return first * _FRAME / SAMPLE_RATE, (last + 1) * _FRAME / SAMPLE_RATE


def _places(rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """First samples of a scene's clips: what is left beside clips and gaps is dealt out uniformly."""
    taken = CLIP_SAMPLES + int(GAP_SECONDS * SAMPLE_RATE)
    free = np.sort(rng.integers(0, _SCENE - WORDS_A_SCENE * taken + 1, WORDS_A_SCENE))
    return free + taken * np.arange(WORDS_A_SCENE)


def _stretches(starts: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Stretches covered by overlapping seconds of noise, from the sorted first samples of those."""
    if len(starts) == 0:
        return []
    breaks = np.flatnonzero(np.diff(starts) > CLIP_SAMPLES) + 1
    return [(int(part[0]), int(part[-1]) + CLIP_SAMPLES - int(part[0])) for part in np.split(starts, breaks)]


def _faded(wave: Waveform) -> Waveform:
    """Ends that rise and fall over 10 ms, so that they do not click."""
    ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
    wave[:_FADE] *= ramp
    wave[-_FADE:] *= ramp[::-1]
    return wave
