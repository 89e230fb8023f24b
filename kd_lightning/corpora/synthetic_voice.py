"""The embedded corpus for synthesis: a voice in the published layout of LibriTTS, with the times of its phones.

The same speakers are in all splits; what they say in one, nobody says in another. ``voice_shard`` speaks it.
"""

import json
from collections import defaultdict
from dataclasses import asdict, dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kd_lightning.corpora import sentences
from kd_lightning.corpora.embedded import EmbeddedCorpus, write_conditions, write_lines
from kd_lightning.corpora.synthetic_sentences import SyntheticLibriTTS, Utterance
from kd_lightning.corpora.voices import SPLITS, VARIANTS, Speaker

SENTENCES_PER_SHARD = 100
_SENTENCES_PER_CHAPTER = 25
# With the pauses these last 1 to 2.5 seconds at some 150 words a minute.
_LETTERS = range(11, 24)


@dataclass(frozen=True)
class SyntheticVoice(EmbeddedCorpus):
    """Settings of an embedded corpus of clean speech; equal settings give equal bytes.

    Args:
        clips: how many in train, validation and test; each is another sentence.
        voices: how many speakers in train, validation and test: the first of them, so that equal numbers are the same
            people. The first speaker is the accent itself, each other one a variant of it.
        accent: espeak's name of a language or accent; its own phones are those of ``Phonemes`` for it.
        pause_seconds: silence before and after the sentence, digital zeros.
        rate_wpm: range of the rates, words per minute.
        pitch: range of the pitches, 0 to 99.
        intonation: how far the pitch moves, 0 to 100.
        seed: another seed is another corpus.

    Raises:
        ValueError: a setting that cannot be spoken; the message names it.
    """

    recipe: ClassVar[int | str] = "voice 1"
    folder: ClassVar[str] = SyntheticLibriTTS.folder
    speaks: ClassVar[str] = "kd_lightning.corpora.voice_shard"
    sample_rate: ClassVar[int] = SyntheticLibriTTS.sample_rate

    clips: tuple[int, int, int] = (600, 40, 60)
    voices: tuple[int, int, int] = (1, 1, 1)
    accent: str = "en-us"
    pause_seconds: float = 0.1
    rate_wpm: tuple[float, float] = (148.0, 156.0)
    pitch: tuple[float, float] = (48.0, 52.0)
    intonation: int = 50
    seed: int = 0

    @property
    def megabytes(self) -> int:
        """What it takes on the disk, about."""
        return sum(self.clips) * 100 // 1000 + 5

    def rng(self, *purpose: int) -> np.random.Generator:
        """A generator of its own for each purpose."""
        return np.random.default_rng([self.seed, *purpose])

    def speakers(self, split: str) -> list[Speaker]:
        """Who speaks in a split; a speaker's rate and pitch are the middle of the ranges."""
        variants = self.rng(0).permutation(VARIANTS)
        names = [self.accent, *(f"{self.accent}+{variant}" for variant in variants)]
        rate, pitch = (round(sum(bounds) / 2) for bounds in (self.rate_wpm, self.pitch))
        count = self.voices[SPLITS.index(split)]
        return [Speaker(split, str(100 + index), names[index], rate, pitch) for index in range(count)]

    def utterances(self) -> list[Utterance]:
        """The corpus, split by split and speaker by speaker."""
        said = iter(_draw(sum(self.clips), self.rng(1)))
        chapters: dict[str, int] = defaultdict(int)
        utterances = []
        for split, clips in zip(SPLITS, self.clips, strict=True):
            speakers = self.speakers(split)
            for index, speaker in enumerate(speakers):
                turns = len(range(index, clips, len(speakers)))
                for turn in range(turns):
                    chapter, sentence = divmod(turn, _SENTENCES_PER_CHAPTER)
                    path = self._path(speaker, chapters[speaker.name] + chapter, sentence)
                    utterances.append(Utterance(speaker, next(said), path))
                chapters[speaker.name] += -(-turns // _SENTENCES_PER_CHAPTER)  # no chapter is in two splits
        return utterances

    def shards(self) -> list[list[Utterance]]:
        """The corpus in the pieces that one process speaks, each in its order."""
        utterances = self.utterances()
        starts = range(0, len(utterances), SENTENCES_PER_SHARD)
        return [utterances[start : start + SENTENCES_PER_SHARD] for start in starts]

    def begin(self, root: Path) -> None:
        """Make the folders of the clips."""
        for folder in {(root / utterance.path).parent for utterance in self.utterances()}:
            folder.mkdir(parents=True, exist_ok=True)

    def finish(self, root: Path, said: list[dict[str, Any]]) -> None:
        """Write the tables of chapters and speakers, the conditions and a README."""
        write_conditions(root, said)
        chapters: dict[Path, list[Utterance]] = defaultdict(list)
        for utterance in self.utterances():
            chapters[(root / utterance.path).parent].append(utterance)
        for folder, read in chapters.items():
            stem = folder / f"{folder.parent.name}_{folder.name}"
            texts = [f"{u.id}\t{sentences.with_numerals(u.text)}\t{u.text}" for u in read]
            write_lines(stem.with_suffix(".trans.tsv"), texts)
            write_lines(stem.with_suffix(".book.tsv"), (f"{text}\tinf" for text in texts))
        speakers = max(map(self.speakers, SPLITS), key=len)
        rows = (f"{s.name:<5}| {'F' if s.female else 'M'} | {'':<17}|        | {s.voice}" for s in speakers)
        write_lines(root / "SPEAKERS.txt", [";ID  |SEX| SUBSET           |MINUTES| NAME", *rows])
        settings = json.dumps(asdict(self), indent=2)
        write_lines(root / "README.md", [_README.format(settings=settings, recipe=self.recipe)])

    def _path(self, speaker: Speaker, chapter: int, sentence: int) -> str:
        number = 100 * int(speaker.name) + chapter
        name = f"{speaker.name}_{number}_{sentence:06d}_000000.wav"
        return f"{SyntheticLibriTTS.PARTS[speaker.split]}/{speaker.name}/{number}/{name}"

    def _check(self) -> None:
        super()._check()
        there_are = sum(map(len, _groups()))
        if sum(self.clips) > there_are:
            raise ValueError(f"synthetic.clips asks for {sum(self.clips)} sentences, there are {there_are}")
        if any(voices > clips for voices, clips in zip(self.voices, self.clips, strict=True)):
            raise ValueError(f"synthetic.voices is {self.voices}, more than synthetic.clips: {self.clips}")
        if max(self.voices) > 1 + len(VARIANTS):
            raise ValueError(f"synthetic.voices is {self.voices}, there are {1 + len(VARIANTS)} of an accent")
        if not 0 <= self.intonation <= 100:
            raise ValueError(f"synthetic.intonation must be within 0 to 100, is {self.intonation}")


@cache
def _groups() -> tuple[tuple[str, ...], ...]:
    """The sentences that are neither too short nor too long, by pattern and number of words."""
    return tuple(
        tuple(text for text in group if sum(map(str.isalpha, text)) in _LETTERS)
        for group in sentences.sentences(SyntheticLibriTTS.half)
    )


def _draw(number: int, rng: np.random.Generator) -> list[str]:
    """Different sentences: a group's in turn while they last, in random order."""
    shuffled = [[group[index] for index in rng.permutation(len(group))] for group in _groups()]
    in_turn = [text for turn in zip_longest(*shuffled) for text in turn if text is not None]
    return [in_turn[index] for index in rng.permutation(number)]


_README = """\
# LibriTTS, spoken by espeak-ng

The published layout with a synthetic voice: no recording of a person is in it. It is made to run and to test
kd_lightning without a download; a result on it says nothing about the real corpus.

`<id>.phones.tsv` beside each recording gives the phones: start, end (seconds), phone; that of a silence is empty.
`conditions.csv` gives each recording's voice, rate and pitch; there is no noise.

Recipe {recipe}, with these settings:

```json
{settings}
```"""
