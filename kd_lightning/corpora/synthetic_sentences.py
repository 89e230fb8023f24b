"""The embedded corpora for recognition: sentences in the published layouts of Common Voice 17 and LibriTTS.

The first has mp3 files and tables, the second 24 kHz wav and text files. They share the grammar (``sentences``) and the
making of recordings; their voices and conditions are different, and they have no sentence in common.
``sentence_shard`` speaks them.
"""

import hashlib
import json
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from kd_lightning.corpora import sentences
from kd_lightning.corpora.embedded import EmbeddedCorpus, write_conditions, write_lines
from kd_lightning.corpora.voices import SPLITS, Speaker, cast

SPEAKERS_PER_SHARD = 10


class Utterance(NamedTuple):
    """One clip to be spoken."""

    speaker: Speaker
    text: str
    path: str  # relative to the corpus root

    @property
    def id(self) -> str:
        """The file's name without its ending."""
        return Path(self.path).stem


@dataclass(frozen=True)
class SyntheticSentences(EmbeddedCorpus):
    """Settings of an embedded corpus of sentences; equal settings give equal bytes.

    Args:
        clips: how many in train, validation and test; each is another sentence.
        voices: how many speakers in train, validation and test; no split has another's espeak variants.
        snr_db: range of the signal-to-noise ratio against the active speech level, dB.
        clean_share: share of the clips without noise.
        tail_db: range of the energy of the room's reverberation relative to the direct sound, dB.
        decay_seconds: range of the room's reverberation time RT60, seconds.
        tilt_db: largest spectral tilt in either direction, dB an octave.
        pause_seconds: range of the pauses before and after the sentence, seconds.
        rate_wpm: range of the speakers' rates, words per minute.
        pitch: range of the speakers' pitches, 0 to 99.
        seed: another seed is another corpus.

    Raises:
        ValueError: a setting that cannot be spoken; the message names it.
    """

    speaks: ClassVar[str] = "kd_lightning.corpora.sentence_shard"
    sample_rate: ClassVar[int]  # of the files, Hz
    half: ClassVar[int]  # of the grammar, which this layout has to itself

    clips: tuple[int, int, int] = (3000, 300, 500)
    voices: tuple[int, int, int] = (60, 10, 12)
    snr_db: tuple[float, float] = (5.0, 30.0)
    clean_share: float = 0.25
    tail_db: tuple[float, float] = (-25.0, -10.0)
    decay_seconds: tuple[float, float] = (0.1, 0.4)
    tilt_db: float = 3.0
    pause_seconds: tuple[float, float] = (0.15, 0.4)
    rate_wpm: tuple[float, float] = (130.0, 200.0)
    pitch: tuple[float, float] = (30.0, 70.0)
    seed: int = 0

    def rng(self, *purpose: int) -> np.random.Generator:
        """A generator of its own for each purpose."""
        return np.random.default_rng([self.seed, self.half, *purpose])

    def speakers(self) -> list[Speaker]:
        """Everybody who speaks, split by split; no two splits share an espeak variant."""
        return cast(self.voices, self.rate_wpm, self.pitch, self.seed, self.rng(0))

    def utterances(self) -> list[Utterance]:
        """The corpus, split by split and speaker by speaker."""
        said = iter(sentences.draw(sum(self.clips), self.rng(1), self.half))
        everybody = self.speakers()
        utterances: list[Utterance] = []
        for split, clips in zip(SPLITS, self.clips, strict=True):
            speakers = [speaker for speaker in everybody if speaker.split == split]
            for index, speaker in enumerate(speakers):
                for turn in range(len(range(index, clips, len(speakers)))):
                    path = self._path(split, everybody.index(speaker), turn, len(utterances))
                    utterances.append(Utterance(speaker, next(said), path))
        return utterances

    def shards(self) -> list[list[Utterance]]:
        """The corpus in the pieces that one process speaks, each in its order: some speakers of one split."""
        by_speaker: dict[Speaker, list[Utterance]] = defaultdict(list)
        for utterance in self.utterances():
            by_speaker[utterance.speaker].append(utterance)
        shards = []
        for split in SPLITS:
            spoken = [turns for speaker, turns in by_speaker.items() if speaker.split == split]
            for start in range(0, len(spoken), SPEAKERS_PER_SHARD):
                shards.append([u for turns in spoken[start : start + SPEAKERS_PER_SHARD] for u in turns])
        return shards

    def begin(self, root: Path) -> None:
        """Make the folders of the clips."""
        for folder in {(root / utterance.path).parent for utterance in self.utterances()}:
            folder.mkdir(parents=True, exist_ok=True)

    def finish(self, root: Path, said: list[dict[str, Any]]) -> None:
        """Write the tables, the conditions and a README."""
        write_conditions(root, said)
        self._write_tables(root, {clip["path"]: clip for clip in said})
        settings = json.dumps(asdict(self), indent=2)
        readme = _README.format(corpus=self.folder, settings=settings, recipe=self.recipe)
        write_lines(root / "README.md", [readme])

    @abstractmethod
    def _path(self, split: str, speaker: int, turn: int, index: int) -> str:
        """Path of the clip that a speaker, by number, says in a turn; ``index`` counts the corpus."""

    @abstractmethod
    def _write_tables(self, root: Path, said: dict[str, dict[str, Any]]) -> None:
        """Write the layout's own tables; ``said`` has the samples and the signal-to-noise ratio of every path."""

    def _check(self) -> None:
        super()._check()
        there_are = sentences.count(self.half)
        if sum(self.clips) > there_are:
            raise ValueError(f"synthetic.clips asks for {sum(self.clips)} sentences, there are {there_are}")
        if any(voices > clips for voices, clips in zip(self.voices, self.clips, strict=True)):
            raise ValueError(f"synthetic.voices is {self.voices}, more than synthetic.clips: {self.clips}")


@dataclass(frozen=True)
class SyntheticCommonVoice(SyntheticSentences):
    """Common Voice 17 (Ardila et al. 2020): ``cv-corpus-17.0/en`` with its tables and ``clips/*.mp3`` at 32 kHz.

    Everybody's recordings are different: noise at 5 to 30 dB and rooms. The settings are those of SyntheticSentences.
    """

    recipe: ClassVar[int | str] = "common_voice 1"
    folder: ClassVar[str] = "cv-corpus-17.0/en"
    sample_rate: ClassVar[int] = 32_000
    half: ClassVar[int] = 0

    COLUMNS: ClassVar[tuple[str, ...]] = (
        "client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes", "age",
        "gender", "accents", "variant", "locale", "segment",
    )  # fmt: skip

    @property
    def megabytes(self) -> int:
        """What it takes on the disk, about."""
        return sum(self.clips) * 18 // 1000 + 5

    def _path(self, split: str, speaker: int, turn: int, index: int) -> str:
        return f"clips/common_voice_en_{index:08d}.mp3"

    def _write_tables(self, root: Path, said: dict[str, dict[str, Any]]) -> None:
        utterances = self.utterances()
        tables = {
            "train": [u for u in utterances if u.speaker.split == "train"],
            "dev": [u for u in utterances if u.speaker.split == "validation"],
            "test": [u for u in utterances if u.speaker.split == "test"],
            "validated": utterances,
            "other": [],
            "invalidated": [],
        }
        for name, rows in tables.items():
            write_lines(root / f"{name}.tsv", ["\t".join(self.COLUMNS), *map(self._row, rows)])
        durations = [
            f"{Path(u.path).name}\t{round(1000 * said[u.path]['samples'] / self.sample_rate)}"
            for u in utterances
        ]
        write_lines(root / "clip_durations.tsv", ["clip\tduration[ms]", *durations])

    def _row(self, utterance: Utterance) -> str:
        client = hashlib.sha512(utterance.speaker.name.encode()).hexdigest()
        sentence = hashlib.sha256(utterance.text.encode()).hexdigest()
        gender = "female_feminine" if utterance.speaker.female else "male_masculine"
        name = Path(utterance.path).name
        return "\t".join((client, name, sentence, utterance.text, "", "2", "0", "", gender, "", "", "en", ""))


@dataclass(frozen=True)
class SyntheticLibriTTS(SyntheticSentences):
    """LibriTTS (Zen et al. 2019): parts, speakers and chapters of 24 kHz wav files, each with its two texts.

    Recordings are cleaner than Common Voice's, as those of the published corpus were chosen to be. The settings are
    those of SyntheticSentences.
    """

    recipe: ClassVar[int | str] = "libritts 1"
    folder: ClassVar[str] = "LibriTTS"
    sample_rate: ClassVar[int] = 24_000
    half: ClassVar[int] = 1

    PARTS: ClassVar[dict[str, str]] = dict(
        zip(SPLITS, ("train-clean-100", "dev-clean", "test-clean"), strict=True)
    )

    snr_db: tuple[float, float] = (15.0, 40.0)
    tail_db: tuple[float, float] = (-30.0, -15.0)
    tilt_db: float = 2.0

    @property
    def megabytes(self) -> int:
        """What it takes on the disk, about."""
        return sum(self.clips) * 130 // 1000 + 5

    def _path(self, split: str, speaker: int, turn: int, index: int) -> str:
        reader, sentences_a_paragraph, sentences_a_chapter = 100 + speaker, 5, 25
        chapter = 100 * reader + turn // sentences_a_chapter
        paragraph, sentence = divmod(turn % sentences_a_chapter, sentences_a_paragraph)
        name = f"{reader}_{chapter}_{paragraph:06d}_{sentence:06d}.wav"
        return f"{self.PARTS[split]}/{reader}/{chapter}/{name}"

    def _write_tables(self, root: Path, said: dict[str, dict[str, Any]]) -> None:
        chapters: dict[Path, list[Utterance]] = defaultdict(list)
        minutes: dict[tuple[str, Speaker], float] = defaultdict(float)
        for utterance in self.utterances():
            chapters[(root / utterance.path).parent].append(utterance)
            reader = utterance.id.partition("_")[0]
            minutes[reader, utterance.speaker] += said[utterance.path]["samples"] / self.sample_rate / 60
        for folder, read in chapters.items():
            stem = f"{folder.parent.name}_{folder.name}"
            texts = [f"{u.id}\t{sentences.with_numerals(u.text)}\t{u.text}" for u in read]
            write_lines(folder / f"{stem}.trans.tsv", texts)
            snr = [said[u.path]["snr_db"] or "inf" for u in read]
            write_lines(
                folder / f"{stem}.book.tsv", (f"{text}\t{db}" for text, db in zip(texts, snr, strict=True))
            )
        write_lines(root / "SPEAKERS.txt", self._readers(minutes))
        write_lines(
            root / "speakers.tsv",
            [
                "READER\tGENDER\tSUBSET\tNAME",
                *(f"{reader}\t{_sex(s)}\t{self.PARTS[s.split]}\t{s.voice}" for reader, s in minutes),
            ],
        )

    def _readers(self, minutes: dict[tuple[str, Speaker], float]) -> Iterator[str]:
        yield ";ID  |SEX| SUBSET           |MINUTES| NAME"
        for (reader, speaker), spoken in minutes.items():
            part = self.PARTS[speaker.split]
            yield f"{reader:<5}| {_sex(speaker)} | {part:<17}| {spoken:<6.2f}| {speaker.voice}"


def _sex(speaker: Speaker) -> str:
    return "F" if speaker.female else "M"


_README = """\
# {corpus}, spoken by espeak-ng

The published layout with synthetic voices: no recording of a person is in it. It is made to run and to test
kd_lightning without a download; a result on it says nothing about the real corpus.

`conditions.csv` gives each clip's voice and signal-to-noise ratio (empty: no noise).

Recipe {recipe}, with these settings:

```json
{settings}
```"""
