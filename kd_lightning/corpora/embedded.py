"""What all embedded corpora share: settings that name a folder, written once by processes that speak, or not at all.

They exist so that everything runs, and can be measured, without a download. What is said follows from the settings
alone; speaking happens in fresh processes, because only a fresh process makes espeak-ng repeat itself.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock
from tqdm import tqdm

from kd_lightning.corpora.voices import SPLITS

CONDITIONS = "conditions.csv"
SPEAKERS_PER_SHARD = 15

# Settings that several corpora have: the lowest and the highest value that can be spoken.
_LIMITS = {
    "snr_db": (-60.0, 100.0),
    "tail_db": (-100.0, 20.0),
    "decay_seconds": (0.01, 0.9),
    "rate_wpm": (80.0, 450.0),
    "pitch": (0.0, 99.0),
    "clean_share": (0.0, 1.0),
    "tilt_db": (0.0, 12.0),
    "shift_seconds": (0.0, 0.5),
    "pause_seconds": (0.0, 2.0),
}


@dataclass(frozen=True)
class EmbeddedCorpus(ABC):
    """Settings of an embedded corpus; equal settings give equal bytes.

    Every subclass is a frozen dataclass of plain values; ``clips`` and ``voices`` are among them.

    Raises:
        ValueError: a setting that cannot be spoken; the message names it.
    """

    recipe: ClassVar[int | str]  # goes into the folder's name: change it when equal settings give other bytes
    folder: ClassVar[str]  # the published one
    speaks: ClassVar[str]  # the module that speaks a shard, run as a program
    first_shard: ClassVar[int] = 0

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

    @property
    @abstractmethod
    def megabytes(self) -> int:
        """What it takes on the disk, about."""

    @abstractmethod
    def shards(self) -> Sequence[Sequence[Any]]:
        """The clips in the pieces that one process speaks, each in its order."""

    @abstractmethod
    def begin(self, root: Path) -> None:
        """Make the folders of the clips."""

    @abstractmethod
    def finish(self, root: Path, said: list[dict[str, Any]]) -> None:
        """Write what is not audio; ``said`` holds what the shards printed of each clip, in no order."""

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that stand for the settings and the recipe."""
        settings = json.dumps({"recipe": self.recipe, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()[:12]

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
        root = folder / self.folder
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
                    self.begin(partial / self.folder)
                    self.finish(partial / self.folder, self._speak(partial / self.folder, processes))
                    os.sync()  # a power cut after the rename must not leave a whole folder of empty files
                    partial.rename(folder)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot write the embedded corpus to {folder}: {error.strerror or error}. "
                f"It takes {self.megabytes} MB; make room there or set paths.data to another disk",
            ) from error
        return root

    def _speak(self, root: Path, processes: int) -> list[dict[str, Any]]:
        """Have every shard spoken in a process of its own; returns what they printed of each clip."""
        shards = self.shards()
        said: list[dict[str, Any]] = []
        progress = tqdm(total=sum(map(len, shards)), desc="speaking", unit="clip", mininterval=0.5)
        with ThreadPoolExecutor(processes) as pool, progress as bar:
            running: list[subprocess.Popen[str]] = []
            numbers = range(self.first_shard, len(shards))
            futures = [pool.submit(self._speak_shard, root, number, bar, running) for number in numbers]
            try:
                for future in as_completed(futures):
                    said += future.result()
            except BaseException:
                for future in futures:
                    future.cancel()
                for process in running:
                    process.kill()
                raise
        return said

    def _speak_shard(
        self, root: Path, shard: int, bar: tqdm, running: "list[subprocess.Popen[str]]"
    ) -> list[dict[str, Any]]:
        settings = json.dumps(asdict(self))
        command = [sys.executable, "-m", self.speaks, type(self).__name__, str(root), str(shard), settings]
        clips = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            running.append(process)
            assert process.stdout is not None
            for line in process.stdout:
                clip = json.loads(line)
                if "errno" in clip:
                    raise OSError(clip["errno"], clip["message"])
                clips.append(clip)
                bar.update()
        if process.returncode != 0:
            raise RuntimeError(
                f"shard {shard} of the embedded corpus was not spoken (exit status {process.returncode}); "
                "the reason is printed above"
            )
        return clips

    def _check(self) -> None:
        settings = asdict(self)
        for name in ("clips", "voices"):
            values = settings[name]
            if len(values) != len(SPLITS) or min(values) < 1:
                raise ValueError(f"synthetic.{name} needs a count above 0 for each of {SPLITS}, is {values}")
        for name, (lowest, highest) in _LIMITS.items():
            value = settings.get(name, lowest)
            bounds = value if isinstance(value, tuple) else (lowest, value)
            if len(bounds) != 2 or not lowest <= bounds[0] <= bounds[1] <= highest:
                raise ValueError(f"synthetic.{name} must rise within {lowest} to {highest}, got {bounds}")


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file in UTF-8."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_conditions(root: Path, said: Iterable[Mapping[str, Any]]) -> None:
    """Write each clip's voice and signal-to-noise ratio, which published corpora do not tell."""
    lines = sorted(f"{clip['path']},{clip['voice']},{clip['snr_db']}" for clip in said)
    write_lines(root / CONDITIONS, ["path,voice,snr_db", *lines])
