"""The published folder layout of Common Voice: one locale, its tables and its clips.

    cv-corpus-<release>/<locale>/  train.tsv  dev.tsv  test.tsv  clips/*.mp3  clip_durations.tsv (later releases)

Ardila et al., "Common Voice: A Massively-Multilingual Speech Corpus", 2020. The tables are separated by tabs and
nothing in them is quoted: a sentence may begin with a quotation mark that never closes.
"""

from array import array
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kd_lightning.corpora.published import the_only_one
from kd_lightning.corpora.utterance_files import Split, UtteranceFile, read_snr

TABLES = {Split.TRAIN: "train.tsv", Split.VALIDATION: "dev.tsv", Split.TEST: "test.tsv"}
CLIPS = "clips"
DURATIONS = "clip_durations.tsv"

_SPEAKER, _CLIP, _SENTENCE = "client_id", "path", "sentence"


class CommonVoiceFolder(NamedTuple):
    """A locale that was found: ``root`` holds its tables and ``clips``; ``locale`` is the folder's name, say "en"."""

    root: Path
    locale: str


def find_common_voice(root: Path) -> CommonVoiceFolder:
    """Find the one locale at ``root`` or in a folder up to three levels below it.

    Raises:
        FileNotFoundError: there is no such folder, or none below it.
        ValueError: there are several, or the one there is lacks a table or its clips.
    """

    def is_locale(names: dict[str, bool]) -> bool:
        return any(table in names for table in (*TABLES.values(), "validated.tsv")) or (
            names.get(CLIPS, False) and DURATIONS in names
        )

    expected = f"a locale's folder with {', '.join(TABLES.values())} and {CLIPS}"
    folder = the_only_one(root, is_locale, "Common Voice", expected)
    missing = [name for name in TABLES.values() if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{folder} has no {' and no '.join(missing)}: the locale is half-extracted (extract it again), "
            "or too small to have been split (choose another)"
        )
    if not (folder / CLIPS).is_dir() or next((folder / CLIPS).iterdir(), None) is None:
        raise ValueError(f"{folder / CLIPS} has no clips: the locale is half-extracted; extract it again")
    return CommonVoiceFolder(folder, folder.name)


def utterances(
    folder: CommonVoiceFolder, split: Split, skipped: MutableMapping[str, str]
) -> Iterator[UtteranceFile]:
    """The utterances of a split in the order of its table, read as they are asked for.

    Args:
        folder: a locale.
        split: which table.
        skipped: gets the reason by clip or by "table:line" for each row that is left out.

    Raises:
        ValueError: the table has no header with the columns that are needed.
    """
    table = folder.root / TABLES[split]
    durations = _Durations(folder.root / DURATIONS)
    snr = read_snr(folder.root)
    with table.open("rb") as file:  # text files would also end lines where a sentence has an odd separator
        columns = file.readline().decode("utf-8-sig", "replace").rstrip("\r\n").split("\t")
        lacking = [name for name in (_SPEAKER, _CLIP, _SENTENCE) if name not in columns]
        if lacking:
            raise ValueError(f"{table} has no column {' and no '.join(lacking)}; its first line is {columns}")
        for number, line in enumerate(file, start=2):
            try:
                values = line.decode().rstrip("\r\n").split("\t")
            except UnicodeDecodeError as error:
                skipped[f"{table.name}:{number}"] = f"not UTF-8: {error.reason}"
                continue
            if len(values) != len(columns):
                skipped[f"{table.name}:{number}"] = f"{len(values)} columns, the table has {len(columns)}"
                continue
            row = dict(zip(columns, values, strict=True))
            clip, text = row[_CLIP], row[_SENTENCE].strip()
            path = folder.root / CLIPS / clip
            if not text:
                skipped[clip] = f"{table.name}:{number}: the transcript is empty"
            elif not path.is_file():
                skipped[clip] = f"{table.name}:{number}: the clip is missing"
            else:
                seconds, heard = durations.seconds(clip), snr.get(f"{CLIPS}/{clip}")
                yield UtteranceFile(path.stem, path, text, row[_SPEAKER], seconds, heard)


class _Durations:
    """Lengths by clip in 12 bytes each, for tables of millions: sorted hashes of the names, and milliseconds."""

    def __init__(self, path: Path) -> None:
        hashes, milliseconds = array("q"), array("i")
        if path.is_file():
            with path.open("rb") as file:
                next(file, None)
                for line in file:
                    clip, _, length = line.rstrip(b"\r\n").partition(b"\t")
                    if length.isdigit():
                        hashes.append(hash(clip))
                        milliseconds.append(int(length))
        order = np.argsort(np.frombuffer(hashes, np.int64)) if hashes else np.zeros(0, np.int64)
        self._hashes = np.array(hashes, np.int64)[order]
        self._milliseconds = np.array(milliseconds, np.int32)[order]

    def seconds(self, clip: str) -> float | None:
        wanted = hash(clip.encode())
        at = int(np.searchsorted(self._hashes, wanted))
        if at < len(self._hashes) and self._hashes[at] == wanted:
            return float(self._milliseconds[at]) / 1000
        return None
