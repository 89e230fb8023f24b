"""A corpus of utterances decoded once: a mapped int16 file, an index, the texts, and lhotse manifests.

- ``audio.npy``: int16, all utterances after each other (115 MB an hour at 16 kHz)
- ``utterances.npy``: one record each: where its audio and its text are, split, speaker, SNR
- ``texts.npy``: all texts as UTF-8 after each other
- ``cuts_<split>.jsonl.gz``: lhotse cuts of the files themselves, to be opened lazily
- ``corpus.json``: the sample rate, and skipped files with the reason
- ``audio.digest``: of ``audio.npy``, once somebody has asked for it
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from lhotse import CutSet, SupervisionSegment
from tqdm import tqdm

from kd_lightning.corpora.decoding import SAMPLE_RATE, Decoded, decode
from kd_lightning.corpora.growing_npy import GrowingNpy
from kd_lightning.corpora.mapped import AUDIO, Mapped
from kd_lightning.corpora.utterance_files import Split, UtteranceFile

UTTERANCES = "utterances.npy"
TEXTS = "texts.npy"
FACTS = "corpus.json"

# Longest id and speaker, in bytes of UTF-8; Common Voice names a speaker by 128 digits.
_ID_BYTES, _SPEAKER_BYTES = 160, 128
_RECORD = np.dtype(
    [
        ("id", f"S{_ID_BYTES}"),
        ("speaker", f"S{_SPEAKER_BYTES}"),
        ("start", "<i8"),
        ("samples", "<i4"),
        ("text", "<i8"),
        ("text_bytes", "<i4"),
        ("split", "<i1"),
        ("snr", "<f4"),
    ]
)
_TOGETHER = 256
# Seconds that a file may lack of the length that its corpus tells: encoders add silence, and decoders take it away.
_LACKING = 0.25

_log = logging.getLogger(__name__)


class PreparedUtterances(Mapped):
    """A prepared corpus, opened without reading it; everything stays mapped, also when it is pickled.

    Attributes:
        folder: where it lies.
        sample_rate: of the audio, in Hz.
        skipped: reason by utterance id, for what could not be read.
        audio: (S,) int16, mapped.
        records: (N,) one an utterance, mapped.
    """

    arrays: ClassVar[dict[str, str]] = {"audio": AUDIO, "records": UTTERANCES, "_texts": TEXTS}
    audio: npt.NDArray[np.int16]
    records: npt.NDArray[np.void]
    _texts: npt.NDArray[np.uint8]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        # Corpora used to be prepared at one rate, and did not say so.
        self.sample_rate: int = facts.get("sample_rate", SAMPLE_RATE)
        self.skipped: dict[str, str] = facts["skipped"]

    def text(self, record: np.void) -> str:
        """The text of an utterance, as the corpus has it."""
        begin = int(record["text"])
        return bytes(self._texts[begin : begin + int(record["text_bytes"])]).decode()

    def cuts(self, split: Split) -> CutSet:
        """The lhotse cuts of a split, lazily opened."""
        return CutSet.from_jsonl_lazy(self.folder / _cuts_name(split))


def prepare_utterances(
    name: str,
    splits: Mapping[Split, Iterable[UtteranceFile]],
    skipped: dict[str, str],
    data: Path,
    sample_rate: int = SAMPLE_RATE,
    require: Callable[[npt.NDArray[np.float32]], None] | None = None,
) -> PreparedUtterances:
    """Decode a corpus into ``<data>/prepared/<name>``, or open what is there already.

    Args:
        name: stands for the corpus's files and for what is done to them; another name when that changes.
        splits: the utterances of each split, read once and in order.
        skipped: what reading the splits leaves out, with the reason; files that cannot be decoded are added.
        data: folder for everything that is written.
        sample_rate: of the audio, in Hz.
        require: what a recording must be, see :func:`~kd_lightning.corpora.decoding.decode`; others are skipped.

    Raises:
        OSError: the disk is full (or the like); nothing is left behind.
        ValueError: an id or a speaker has too long a name.
    """
    folder = data / "prepared" / name
    if not folder.is_dir():
        aside = folder.with_name(folder.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        try:
            _write(
                aside, splits, skipped, sample_rate, partial(decode, sample_rate=sample_rate, require=require)
            )
            aside.rename(folder)
        except OSError as error:
            reason = error.strerror or error
            raise OSError(error.errno, f"cannot prepare the corpus in {folder}: {reason}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return PreparedUtterances(folder)


def _write(
    folder: Path,
    splits: Mapping[Split, Iterable[UtteranceFile]],
    skipped: dict[str, str],
    sample_rate: int,
    read: Callable[[Path, str, int], Decoded],
) -> None:
    with ExitStack() as files, ThreadPoolExecutor(os.cpu_count()) as pool:
        audio = files.enter_context(GrowingNpy(folder / AUDIO, np.dtype("<i2")))
        records = files.enter_context(GrowingNpy(folder / UTTERANCES, _RECORD))
        texts = files.enter_context(GrowingNpy(folder / TEXTS, np.dtype("u1")))
        bar = files.enter_context(tqdm(desc="decoding", unit="clip", mininterval=0.5, disable=None))
        for split, utterances in splits.items():
            cuts = files.enter_context(CutSet.open_writer(folder / _cuts_name(split)))
            for file, decoded in _decode_all(utterances, read, pool, skipped):
                text = np.frombuffer(file.text.encode(), np.uint8)
                record = (
                    _bounded(file.id, _ID_BYTES),
                    _bounded(file.speaker, _SPEAKER_BYTES),
                    audio.length,
                    len(decoded.samples),
                    texts.length,
                    len(text),
                    split,
                    np.nan if file.snr is None else file.snr,
                )
                records.append(np.array([record], _RECORD))
                texts.append(text)
                audio.append(decoded.samples)
                cuts.write(_cut(file, decoded))
                bar.update()
    if skipped:
        first = "; ".join(f"{id}: {reason}" for id, reason in islice(skipped.items(), 5))
        _log.warning("skipped %d utterances: %s", len(skipped), first)
    facts = {"sample_rate": sample_rate, "skipped": skipped}
    (folder / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")


def _decode_all(
    files: Iterable[UtteranceFile],
    read: Callable[[Path, str, int], Decoded],
    pool: ThreadPoolExecutor,
    skipped: dict[str, str],
) -> Iterator[tuple[UtteranceFile, Decoded]]:
    """The files that can be read, in their order; the others are added to ``skipped``."""

    def attempt(file: UtteranceFile) -> Decoded | str:
        try:
            decoded = read(file.path, file.id, file.path.stat().st_size)
        except (ValueError, FileNotFoundError) as error:
            return str(error)
        duration = decoded.recording.duration
        if file.seconds is not None and duration < file.seconds - _LACKING:
            return f"truncated: {duration:.2f} of {file.seconds:.2f} seconds"
        return decoded

    stream = iter(files)
    while together := list(islice(stream, _TOGETHER)):
        for file, decoded in zip(together, pool.map(attempt, together), strict=True):
            if isinstance(decoded, Decoded):
                yield file, decoded
            else:
                skipped[file.id] = decoded


def _bounded(name: str, most: int) -> bytes:
    encoded = name.encode()
    if len(encoded) > most:
        raise ValueError(f"{name!r} is longer than {most} bytes: rename that file or speaker")
    return encoded


def _cut(file: UtteranceFile, decoded: Decoded) -> Any:
    cut = decoded.recording.to_cut()
    cut.id = file.id
    cut.supervisions = [
        SupervisionSegment(
            id=file.id,
            recording_id=file.id,
            start=0.0,
            duration=decoded.recording.duration,
            channel=decoded.recording.channel_ids if decoded.recording.num_channels > 1 else 0,
            text=file.text,
            speaker=file.speaker,
            custom=None if file.snr is None else {"snr_db": file.snr},
        )
    ]
    return cut


def _cuts_name(split: Split) -> str:
    return f"cuts_{split.name.lower()}.jsonl.gz"
