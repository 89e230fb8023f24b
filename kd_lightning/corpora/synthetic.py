"""The embedded corpus: the published layout of Speech Commands v0.02, spoken by espeak-ng.

It exists so that everything runs, and can be measured, without a download. Its words are words of Speech
Commands (Warden 2018), many of them near-confusable; its speakers differ in accent, voice, rate and pitch;
its recordings have rooms, tilted spectra and noise. Who says what follows from the settings alone; speaking
happens in fresh processes (``synthetic_shard``), because only a fresh process makes espeak-ng repeat
itself.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock
from tqdm import tqdm

RECIPE = 1  # goes into the folder's name: raise it when the same settings would give other bytes
FOLDER = "speech_commands_v0.02"
SPLITS = ("train", "validation", "test")
SPEAKERS_PER_SHARD = 15

WORDS = (
    "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go",  # the ten of the 12-class task
    "tree", "three", "four", "forward", "five", "nine", "bed", "bird", "dog", "wow",  # near some word
)  # fmt: skip
# What espeak calls "en" is British.
ACCENTS = (
    "en-us", "en", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd",
    "en-us-nyc",
)  # fmt: skip
# espeak's voices without robots, whispers and those that a network trained on the others hardly understands.
VARIANTS = (
    "Alex", "Annie", "AnxiousAndy", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo", "Jacky",
    "Mario", "Michael", "Mike", "Nguyen", "RicishayMax", "Storm", "Tweaky", "adam", "announcer",
    "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "croak", "david", "ed", "edward",
    "edward2", "f1", "f2", "f3", "f4", "f5", "grandma", "grandpa", "gustave", "ian", "iven", "iven3",
    "iven4", "john", "klatt", "klatt2", "klatt3", "klatt6", "linda", "m1", "m2", "m3", "m4", "m5", "m6",
    "m7", "m8", "marcelo", "max", "michel", "miguel", "mike2", "pablo", "paul", "pedro", "quincy", "rob",
    "robert", "sandro", "steph2", "steph3", "victor",
)  # fmt: skip


class Speaker(NamedTuple):
    """Somebody who speaks in the corpus."""

    split: str
    name: str  # eight hexadecimal digits, as in the file names
    voice: str  # espeak's name for accent and variant
    rate: int  # words per minute
    pitch: int  # 0 to 99


class Utterance(NamedTuple):
    """One clip to be spoken."""

    speaker: Speaker
    word: str
    path: str  # relative to the corpus root


@dataclass(frozen=True)
class SyntheticSpeechCommands:
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

    def __post_init__(self) -> None:
        # Lists and whole numbers, as a config gives them, must not change the hash.
        for field in fields(self):
            value, default = getattr(self, field.name), field.default
            if isinstance(default, tuple):
                value = tuple(type(default[0])(item) for item in value)
            elif isinstance(default, float):
                value = float(value)
            object.__setattr__(self, field.name, value)
        self._check()

    def write(self, data: Path, processes: int = 2) -> Path:
        """Write the corpus unless it is there already.

        Args:
            data: the folder of all data; the corpus goes below ``embedded/<hash of the settings>`` in it.
            processes: how many speak at once; it changes the time, not the bytes.

        Returns:
            The corpus root, in the published layout with ``conditions.csv`` (path, voice, snr_db).

        Raises:
            ModuleNotFoundError: the ``synthetic`` extra is not installed.
            OSError: the folder cannot be written, say because the disk is full; nothing is left behind.
        """
        folder = Path(data).resolve() / "embedded" / self.fingerprint
        root = folder / FOLDER
        if root.is_dir():
            return root
        if find_spec("espeakng_loader") is None:
            raise ModuleNotFoundError(
                'the embedded corpus is spoken by espeak-ng: pip install "kd_lightning[synthetic]", '
                "or set corpus.root to a folder with recordings"
            )
        partial = folder.with_name(f"{folder.name}.partial")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(f"{folder.name}.lock")):
                if root.is_dir():  # another process wrote it while this one waited
                    return root
                try:
                    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
                    self._write(partial / FOLDER, processes)
                    partial.rename(folder)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            megabytes = (sum(self.clips) * 32 + 12_000) // 1000
            raise OSError(
                error.errno,
                f"cannot write the embedded corpus to {folder}: {error.strerror or error}. "
                f"It takes {megabytes} MB; make room there or set paths.data to another disk",
            ) from error
        return root

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that stand for the settings and the recipe."""
        settings = json.dumps({"recipe": RECIPE, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()[:12]

    def speakers(self) -> list[Speaker]:
        """Everybody who speaks, split by split; no two splits share an espeak variant."""
        rng = np.random.default_rng([self.seed, RECIPE])
        variants = list(rng.permutation(VARIANTS))
        everybody = []
        for split, count in zip(SPLITS, self.voices, strict=True):
            share = 1 + (len(VARIANTS) - len(SPLITS)) * count // sum(self.voices)
            dealt, variants = variants[:share], variants[share:]
            accents = rng.permuted(np.tile(ACCENTS, (share, 1)), axis=1)
            for index in range(count):
                again, variant = divmod(index, share)
                accent = accents[variant, again % len(ACCENTS)]
                name = hashlib.sha256(f"{self.seed} {split} {index}".encode()).hexdigest()[:8]
                rate, pitch = round(rng.uniform(*self.rate_wpm)), round(rng.uniform(*self.pitch))
                everybody.append(Speaker(split, name, f"{accent}+{dealt[variant]}", rate, pitch))
        return everybody

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

    def _write(self, root: Path, processes: int) -> None:
        for word in (*self.words, "_background_noise_"):
            (root / word).mkdir(parents=True)
        shards = self.shards()
        conditions: list[str] = []
        progress = tqdm(total=sum(self.clips), desc="speaking", unit="clip", mininterval=0.5)
        with ThreadPoolExecutor(processes) as pool, progress as bar:
            running: list[subprocess.Popen[str]] = []
            numbers = range(-1, len(shards))  # -1 is the background noise
            futures = [pool.submit(self._speak, root, number, bar, running) for number in numbers]
            try:
                for future in as_completed(futures):
                    conditions += future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                for process in running:
                    process.kill()
                raise
        self._write_text(root / "conditions.csv", ["path,voice,snr_db", *sorted(conditions)])
        for split, name in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
            paths = [u.path for shard in shards for u in shard if u.speaker.split == split]
            self._write_text(root / name, sorted(paths))
        settings = json.dumps(asdict(self), indent=2)
        self._write_text(root / "README.md", [_README.format(settings=settings, recipe=RECIPE)])
        os.sync()  # a power cut after the rename must not leave a whole folder of empty files

    def _speak(self, root: Path, shard: int, bar: tqdm, running: "list[subprocess.Popen[str]]") -> list[str]:
        """Have one shard spoken in a process of its own; returns its lines of conditions.csv."""
        module, settings = "kd_lightning.corpora.synthetic_shard", json.dumps(asdict(self))
        command = [sys.executable, "-m", module, str(root), str(shard), settings]
        conditions = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            running.append(process)
            assert process.stdout is not None
            for line in process.stdout:
                said = json.loads(line)
                if "errno" in said:
                    raise OSError(said["errno"], said["message"])
                conditions.append(f"{said['path']},{said['voice']},{said['snr_db']}")
                bar.update()
        if process.returncode != 0:
            raise RuntimeError(
                f"shard {shard} of the embedded corpus was not spoken (exit status {process.returncode}); "
                "the reason is printed above"
            )
        return conditions

    @staticmethod
    def _write_text(path: Path, lines: list[str]) -> None:
        path.write_text("".join(f"{line}\n" for line in lines))

    def _check(self) -> None:
        wrong = [word for word in self.words if not (word.isascii() and word.isalpha() and word.islower())]
        if wrong or not self.words or len(set(self.words)) < len(self.words):
            raise ValueError(f"synthetic.words must be different lower-case words, got {list(self.words)}")
        for name, values in (("clips", self.clips), ("voices", self.voices)):
            if len(values) != len(SPLITS) or min(values) < 1:
                raise ValueError(f"synthetic.{name} needs a count above 0 for each of {SPLITS}, is {values}")
        for name, bounds, lowest, highest in (
            ("snr_db", self.snr_db, -60.0, 100.0),
            ("tail_db", self.tail_db, -100.0, 20.0),
            ("decay_seconds", self.decay_seconds, 0.01, 0.9),
            ("rate_wpm", self.rate_wpm, 80.0, 450.0),
            ("pitch", self.pitch, 0.0, 99.0),
            ("clean_share", (0.0, self.clean_share), 0.0, 1.0),
            ("tilt_db", (0.0, self.tilt_db), 0.0, 12.0),
            ("shift_seconds", (0.0, self.shift_seconds), 0.0, 0.5),
        ):
            if len(bounds) != 2 or not lowest <= bounds[0] <= bounds[1] <= highest:
                raise ValueError(f"synthetic.{name} must rise within {lowest} to {highest}, got {bounds}")


_README = """\
# Speech Commands, spoken by espeak-ng

The layout of Speech Commands v0.02 with synthetic voices: no recording of a person is in it. It is made to
run and to test kd_lightning without a download; a result on it says nothing about the real corpus.

`conditions.csv` gives each clip's voice and signal-to-noise ratio (empty: no noise).

Recipe {recipe}, with these settings:

```json
{settings}
```"""
