"""Decode a corpus once into the files that ``prepared`` describes.

They are written aside and renamed when complete, into a folder named by a fingerprint of the corpus's files,
so a changed corpus is prepared anew. All words are in it: which of them are classes is chosen afterwards.
"""

import csv
import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from lhotse import CutSet, MonoCut, SupervisionSegment
from lhotse.cut import Cut

from kd_lightning.corpora.decoding import CLIP_SAMPLES, SAMPLE_RATE, Decoded, clip_start, decode, one_second
from kd_lightning.corpora.growing_npy import GrowingNpy
from kd_lightning.corpora.layout import (
    SILENCE,
    TESTING_LIST,
    VALIDATION_LIST,
    ClipFile,
    Corpus,
    Split,
    clip_files,
    noise_files,
    read_lists,
    split_by_name,
)
from kd_lightning.corpora.mapped import AUDIO
from kd_lightning.corpora.prepared import CLIPS, FACTS, NOISE_CUTS, Prepared, clip_dtype, cuts_name

FORMAT = 1
CONDITIONS = "conditions.csv"

# Splits hear different parts of each noise recording: 80, 10 and 10 % of it, in this order.
_NOISE_SHARES = ((Split.TRAIN, 0.0, 0.8), (Split.VALIDATION, 0.8, 0.9), (Split.TESTING, 0.9, 1.0))
# Seconds of "silence" are cut out of the noise at this step.
_SILENCE_STEP = SAMPLE_RATE // 20
_TOGETHER = 1024

_log = logging.getLogger(__name__)


def prepare(corpus: Corpus, data: Path) -> Prepared:
    """Decode ``corpus`` into ``<data>/prepared/<fingerprint>``, or open what is there already.

    Raises:
        ValueError: a list names a missing file, or conditions.csv is malformed.
        OSError: the disk is full (or the like); nothing is left behind.
    """
    folder = prepared_folder(corpus, data)
    if not folder.is_dir():
        aside = folder.with_name(folder.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            _write(corpus, aside)
            aside.rename(folder)
        except OSError as error:
            reason = error.strerror or error
            raise OSError(error.errno, f"cannot prepare {corpus.root} in {data}: {reason}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return Prepared(folder)


def prepared_folder(corpus: Corpus, data: Path) -> Path:
    """Where ``corpus`` is prepared: named by its place and by the name, size and time of every file."""
    digest = hashlib.blake2b(f"{FORMAT} {corpus.root.resolve()} {corpus.has_lists}".encode(), digest_size=10)
    for _, folder in corpus.folders():
        for file in clip_files(corpus, folder):
            digest.update(f"\n{file.id}\t{file.size}\t{file.modified}".encode())
    for file in noise_files(corpus):
        digest.update(f"\n{file.id}\t{file.size}\t{file.modified}".encode())
    for path in (corpus.root / name for name in (VALIDATION_LIST, TESTING_LIST, CONDITIONS)):
        if path.is_file():
            digest.update(f"\n{path.name}\t{path.stat().st_size}\t{path.stat().st_mtime_ns}".encode())
    return data / "prepared" / digest.hexdigest()


def _read_conditions(path: Path) -> dict[str, float]:
    """Signal-to-noise ratio in dB by clip id, where the corpus has a conditions.csv."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        try:
            return {row["path"]: float(row["snr_db"] or math.nan) for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            where = f"{path}, line {rows.line_num}"
            raise ValueError(f"{where}: expected the columns path,voice,snr_db ({error!r})") from error


class _Writer:
    """Appends clips and noise to the files of ``folder`` until ``files`` is closed."""

    def __init__(self, folder: Path, corpus: Corpus, words: list[str], files: ExitStack) -> None:
        self._words = words
        self._dtype = _dtype(corpus)
        self._audio = files.enter_context(GrowingNpy(folder / AUDIO, np.dtype("<i2")))
        self._clips = files.enter_context(GrowingNpy(folder / CLIPS, self._dtype))
        self._cuts = {
            split: files.enter_context(CutSet.open_writer(folder / cuts_name(split))) for split in Split
        }
        self._noise_cuts = files.enter_context(CutSet.open_writer(folder / NOISE_CUTS))
        self.noise: list[tuple[int, int]] = []

    def add(self, file: ClipFile, decoded: Decoded, word: str, split: Split, snr: float) -> None:
        """Append a clip's second, its record and its cut."""
        self._index(file.id, file.speaker, self._audio.length, word, split, snr)
        self._audio.append(one_second(decoded.samples))
        self._cuts[split].write(_cut(file, decoded, word, snr))

    def add_noise(self, file: ClipFile, decoded: Decoded) -> None:
        """Append a recording of noise whole, and a record for each second of it that may be "silence"."""
        total = len(decoded.samples)
        for split, low, high in _NOISE_SHARES:
            begin, end = int(low * total), int(high * total)
            if split is Split.TRAIN and end - begin >= CLIP_SAMPLES:
                self.noise.append((self._audio.length + begin, end - begin))
            for at in range(begin, end - CLIP_SAMPLES + 1, _SILENCE_STEP):
                id = _second_id(file, at)
                self._index(id, file.speaker, self._audio.length + at, SILENCE, split, math.nan)
        self._audio.append(decoded.samples)
        self._noise_cuts.write(decoded.recording.to_cut())

    def _index(self, id: str, speaker: str, start: int, word: str, split: Split, snr: float) -> None:
        record = (id.encode(), speaker.encode(), start, self._words.index(word), split, snr)
        self._clips.append(np.array([record], self._dtype))


def _write(corpus: Corpus, folder: Path) -> None:
    folders = corpus.folders()
    words = [*dict.fromkeys(word for word, _ in folders if word != SILENCE), SILENCE]
    splits, snr = read_lists(corpus), _read_conditions(corpus.root / CONDITIONS)
    skipped: dict[str, str] = {}
    with ExitStack() as files, ThreadPoolExecutor(os.cpu_count()) as pool:
        writer = _Writer(folder, corpus, words, files)
        for word, word_folder in folders:
            for file, decoded in _decode_all(clip_files(corpus, word_folder), pool, skipped):
                if word_folder.parent == corpus.test_set:
                    split = Split.TEST_SET
                elif corpus.has_lists:
                    split = splits.get(file.id, Split.TRAIN)
                else:
                    split = split_by_name(file.path.name)
                writer.add(file, decoded, word, split, snr.get(file.id, math.nan))
        for file, decoded in _decode_all(noise_files(corpus), pool, skipped):
            writer.add_noise(file, decoded)
    if skipped:
        first = "; ".join(f"{id}: {reason}" for id, reason in islice(skipped.items(), 5))
        _log.warning("skipped %d unreadable files of %s: %s", len(skipped), corpus.root, first)
    facts = {"root": str(corpus.root), "words": words, "noise": writer.noise, "skipped": skipped}
    (folder / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _decode_all(
    files: list[ClipFile], pool: ThreadPoolExecutor, skipped: dict[str, str]
) -> Iterator[tuple[ClipFile, Decoded]]:
    """The files that can be read, in their order; the others are added to ``skipped``."""

    def attempt(file: ClipFile) -> Decoded | str:
        try:
            return decode(file.path, file.id, file.size)
        except ValueError as error:
            return str(error)

    for begin in range(0, len(files), _TOGETHER):
        together = files[begin : begin + _TOGETHER]
        for file, decoded in zip(together, pool.map(attempt, together), strict=True):
            if isinstance(decoded, Decoded):
                yield file, decoded
            else:
                skipped[file.id] = decoded


def _dtype(corpus: Corpus) -> np.dtype[Any]:
    """Records with room for the longest id and the longest speaker."""
    id_bytes = speaker_bytes = 1
    for _, folder in corpus.folders():
        for file in clip_files(corpus, folder):
            id_bytes = max(id_bytes, len(file.id.encode()))
            speaker_bytes = max(speaker_bytes, len(file.speaker.encode()))
    for file in noise_files(corpus):
        id_bytes = max(id_bytes, len(_second_id(file, file.size * SAMPLE_RATE).encode()))
        speaker_bytes = max(speaker_bytes, len(file.speaker.encode()))
    return clip_dtype(id_bytes, speaker_bytes)


def _second_id(file: ClipFile, start: int) -> str:
    return f"{file.id}@{start / SAMPLE_RATE:.2f}s"


def _cut(file: ClipFile, decoded: Decoded, word: str, snr: float) -> Cut:
    recording = decoded.recording
    supervision = SupervisionSegment(
        id=file.id,
        recording_id=file.id,
        start=0.0,
        duration=recording.duration,
        channel=recording.channel_ids if recording.num_channels > 1 else 0,
        text=word,
        speaker=file.speaker,
        custom=None if math.isnan(snr) else {"snr_db": snr},
    )
    if recording.num_channels == 1 and len(decoded.samples) <= CLIP_SAMPLES:
        return MonoCut(file.id, 0.0, recording.duration, 0, [supervision], recording=recording)
    cut = recording.to_cut()
    cut.id, cut.supervisions = file.id, [supervision]
    seconds = CLIP_SAMPLES / SAMPLE_RATE
    if recording.duration > seconds:
        offset = min(clip_start(decoded.samples) / SAMPLE_RATE, recording.duration - seconds)
        cut = cut.truncate(offset=offset, duration=seconds, preserve_id=True)
    return cut
