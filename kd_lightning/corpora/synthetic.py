"""The embedded corpus of keywords: the published layout of Speech Commands v0.02, spoken by espeak-ng.

Its words are words of Speech Commands (Warden 2018), many of them near-confusable; its speakers differ in accent,
voice, rate and pitch; its recordings have rooms, tilted spectra and noise. ``synthetic_shard`` speaks it.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from kd_lightning.corpora.embedded import SPEAKERS_PER_SHARD, EmbeddedCorpus, write_conditions, write_lines
from kd_lightning.corpora.voices import SPLITS, Speaker, cast

RECIPE = 1

WORDS = (
    "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go",  # the ten of the 12-class task
    "tree", "three", "four", "forward", "five", "nine", "bed", "bird", "dog", "wow",  # near some word
)  # fmt: skip


class Utterance(NamedTuple):
    """One clip to be spoken."""

    speaker: Speaker
    word: str
    path: str  # relative to the corpus root


@dataclass(frozen=True)
class SyntheticSpeechCommands(EmbeddedCorpus):
    """Settings of the embedded corpus; equal settings give equal bytes.

    Args:
        words: what is said; each becomes a folder.
        clips: how many in train, validation and test.
        voices: how many speakers in train, validation and test; no split has another's espeak variants.
        snr_db: range of the signal-to-noise ratio against the active speech level, dB.
        clean_share: share of the clips without noise.
        tail_db: range of the energy of the room's reverberation relative to the direct sound, dB.
        decay_seconds: range of the room's reverberation time RT60, seconds.
        tilt_db: largest spectral tilt in either direction, dB an octave.
        shift_seconds: largest distance of the word from the clip's middle in either direction, seconds.
        rate_wpm: range of the speakers' rates, words per minute.
        pitch: range of the speakers' pitches, 0 to 99.
        seed: another seed is another corpus.

    Raises:
        ValueError: a setting that cannot be spoken; the message names it.
    """

    recipe: ClassVar[int | str] = RECIPE
    folder: ClassVar[str] = "speech_commands_v0.02"
    speaks: ClassVar[str] = "kd_lightning.corpora.synthetic_shard"
    first_shard: ClassVar[int] = -1  # the background noise

    words: tuple[str, ...] = WORDS
    clips: tuple[int, int, int] = (6000, 1500, 3000)
    voices: tuple[int, int, int] = (60, 15, 30)
    snr_db: tuple[float, float] = (-5.0, 20.0)
    clean_share: float = 0.25
    tail_db: tuple[float, float] = (-25.0, -8.0)
    decay_seconds: tuple[float, float] = (0.1, 0.4)
    tilt_db: float = 3.0
    shift_seconds: float = 0.15
    rate_wpm: tuple[float, float] = (115.0, 180.0)
    pitch: tuple[float, float] = (30.0, 70.0)
    seed: int = 0

    @property
    def megabytes(self) -> int:
        """What it takes on the disk, about."""
        return (sum(self.clips) * 32 + 12_000) // 1000

    def speakers(self) -> list[Speaker]:
        """Everybody who speaks, split by split; no two splits share an espeak variant."""
        rng = np.random.default_rng([self.seed, RECIPE])
        return cast(self.voices, self.rate_wpm, self.pitch, self.seed, rng)

    def shards(self) -> list[list[Utterance]]:
        """The corpus in the pieces that one process speaks, each in its order: some speakers of one split."""
        shards = []
        for split, clips in zip(SPLITS, self.clips, strict=True):
            speakers = [speaker for speaker in self.speakers() if speaker.split == split]
            for start in range(0, len(speakers), SPEAKERS_PER_SHARD):
                indices = range(start, min(start + SPEAKERS_PER_SHARD, len(speakers)))
                shards.append([u for index in indices for u in self._utterances(speakers, index, clips)])
        return shards

    def _utterances(self, speakers: list[Speaker], index: int, clips: int) -> Iterator[Utterance]:
        """What one of a split's speakers says: the words in turn, from where the one before left off."""
        speaker, turns = speakers[index], -(-clips // len(speakers))
        for turn in range(len(range(index, clips, len(speakers)))):
            word = self.words[(index * turns + turn) % len(self.words)]
            yield Utterance(speaker, word, f"{word}/{speaker.name}_nohash_{turn // len(self.words)}.wav")

    def begin(self, root: Path) -> None:
        """Make the folders of the clips."""
        for word in (*self.words, "_background_noise_"):
            (root / word).mkdir(parents=True)

    def finish(self, root: Path, said: list[dict[str, Any]]) -> None:
        """Write the conditions, the two lists and a README."""
        write_conditions(root, said)
        utterances = [utterance for shard in self.shards() for utterance in shard]
        for split, name in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
            write_lines(root / name, sorted(u.path for u in utterances if u.speaker.split == split))
        settings = json.dumps(asdict(self), indent=2)
        write_lines(root / "README.md", [_README.format(settings=settings, recipe=RECIPE)])

    def _check(self) -> None:
        wrong = [word for word in self.words if not (word.isascii() and word.isalpha() and word.islower())]
        if wrong or not self.words or len(set(self.words)) < len(self.words):
            raise ValueError(f"synthetic.words must be different lower-case words, got {list(self.words)}")
        super()._check()


_README = """\
# Speech Commands, spoken by espeak-ng

The layout of Speech Commands v0.02 with synthetic voices: no recording of a person is in it. It is made to
run and to test kd_lightning without a download; a result on it says nothing about the real corpus.

`conditions.csv` gives each clip's voice and signal-to-noise ratio (empty: no noise).

Recipe {recipe}, with these settings:

```json
{settings}
```"""
