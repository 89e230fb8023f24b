"""What a corpus of sentences gives before anything is decoded: which file, what is said in it, who says it."""

import csv
import hashlib
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from kd_lightning.corpora.embedded import CONDITIONS


class Split(IntEnum):
    """The part of the corpus that an utterance belongs to."""

    TRAIN = 0
    VALIDATION = 1
    TEST = 2


class UtteranceFile(NamedTuple):
    """One utterance of a published corpus.

    Attributes:
        id: the file's name without its ending, unique in the corpus.
        path: of the audio.
        text: as published, with capitals and punctuation; never empty.
        speaker: the corpus's name for whoever speaks.
        seconds: its length, where the corpus tells.
        snr: its signal-to-noise ratio in dB, where the corpus tells and the clip is noisy.
    """

    id: str
    path: Path
    text: str
    speaker: str
    seconds: float | None
    snr: float | None


def read_snr(root: Path) -> dict[str, float]:
    """Signal-to-noise ratio in dB by path in the corpus, from the conditions file that embedded corpora have.

    Clips without noise are left out, as is everything where there is no such file.

    Raises:
        ValueError: the file has other columns.
    """
    path = root / CONDITIONS
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        try:
            return {row["path"]: float(row["snr_db"]) for row in rows if row["snr_db"]}
        except (KeyError, TypeError, ValueError) as error:
            where = f"{path}, line {rows.line_num}"
            raise ValueError(f"{where}: expected the columns path,voice,snr_db ({error!r})") from error


def fingerprint_of_files(paths: Iterable[Path]) -> str:
    """A name that changes with the place, size or time of any of these files."""
    digest = hashlib.blake2b(digest_size=10)
    for path in paths:
        status = path.stat()
        digest.update(f"{path.resolve()}\t{status.st_size}\t{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
