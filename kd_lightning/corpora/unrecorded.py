"""Text that nobody recorded, behind the utterances of a corpus: only a teacher can say how it sounds.

What reads a corpus by the number of a record need not know of it. In ``text_<digest>``, in the folder of the tokens:

- ``utterances.npy``, ``texts.npy``: those of the corpus, then those of the text, without audio
- ``tokens.npy``, ``ends.npy``: of the text alone
- ``corpus.json``: the sample rate, and the lines that cannot be said with the reason
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from kd_lightning.corpora.growing_npy import GrowingNpy
from kd_lightning.corpora.mapped import AUDIO, Mapped
from kd_lightning.corpora.pitch_tracks import PitchTracks
from kd_lightning.corpora.prepared_utterances import FACTS, TEXTS, UTTERANCES, PreparedUtterances
from kd_lightning.corpora.selection import hash_order
from kd_lightning.corpora.spelt_sentences import Spelt, SpeltSentences
from kd_lightning.corpora.utterance_files import Split
from kd_lightning.frontend.tokens import Tokens

_TOKENS, _ENDS = "tokens.npy", "ends.npy"

_log = logging.getLogger(__name__)


class Line(NamedTuple):
    """A sentence of a file.

    Attributes:
        number: of its line, from 1.
        text: what it says.
    """

    number: int
    text: str

    @property
    def id(self) -> str:
        """Of its cut."""
        return f"text_{self.number:06d}"


class PreparedWithText(PreparedUtterances):
    """The utterances of a corpus, then text, whose records have a length and no audio."""

    arrays: ClassVar[dict[str, str]] = PreparedUtterances.arrays | {"audio": f"../../{AUDIO}"}


class SpeltWithText(SpeltSentences):
    """The sentences of a corpus, then text.

    Attributes:
        skipped: reason by line, for what the tokens cannot say.
    """

    arrays: ClassVar[dict[str, str]] = {
        **{name: f"../{file}" for name, file in SpeltSentences.arrays.items()},
        **{"_text": _TOKENS, "_text_ends": _ENDS},
    }
    _text: npt.NDArray[np.int32]
    _text_ends: npt.NDArray[np.int64]

    def __init__(self, folder: Path) -> None:
        Mapped.__init__(self, folder)
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        self.pieces: list[str] = facts["pieces"]
        self.skipped: dict[str, str] = facts["skipped"]

    def __getitem__(self, record: int) -> Spelt:
        line = record - len(self._ends)
        if line < 0:
            return super().__getitem__(record)
        tokens = self._text[int(self._text_ends[line - 1]) if line else 0 : int(self._text_ends[line])]
        return Spelt(tokens, np.zeros(len(tokens), np.float32) if self.has_durations else None)


class PitchWithText(PitchTracks):
    """The fundamental frequencies of a corpus; text has no voice."""

    def __getitem__(self, record: int) -> npt.NDArray[np.float32]:
        return super().__getitem__(record) if record < len(self._ends) else np.zeros(1, np.float32)


def read_lines(path: Path) -> list[Line]:
    """The lines of a file that say something.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not UTF-8, or there is no sentence in it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"corpus.text={path} is not a file: name one with a sentence a line")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus.text={path} is not UTF-8 ({error.reason} at byte {error.start}): save it as such"
        ) from error
    said = [Line(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not said:
        raise ValueError(f"corpus.text={path} has no sentence: write one a line")
    return said


def with_text(
    path: Path, prepared: PreparedUtterances, spelt: SpeltSentences, tokens: Tokens, speakers: Sequence[str]
) -> tuple[PreparedWithText, SpeltWithText]:
    """Put text behind a corpus, or open what was put there before; one process at a time.

    A sentence is taken to last as long as its tokens do in the training recordings, on average. The speakers take
    turns, in an order that follows from the ids.

    Args:
        path: of the text, a sentence a line.
        prepared: the corpus.
        spelt: its sentences.
        tokens: what spells them.
        speakers: who is to say the text.

    Raises:
        FileNotFoundError, ValueError: there is no text, or none that the tokens can say.
        OSError: the disk is full (or the like); nothing is left behind.
    """
    lines = read_lines(path)
    digest = hashlib.blake2b(json.dumps([lines, list(speakers)]).encode(), digest_size=8)
    folder = spelt.folder / f"text_{digest.hexdigest()}"
    if not folder.is_dir():
        aside = folder.with_name(folder.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            _write(aside, lines, prepared, spelt, tokens, speakers)
            aside.rename(folder)
        except OSError as error:
            raise OSError(error.errno, f"cannot write {folder}: {error.strerror or error}") from error
        except ValueError as error:
            raise ValueError(f"corpus.text={path}: {error}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    together = SpeltWithText(folder)
    if together.skipped:
        first = "; ".join(f"{line}: {reason}" for line, reason in islice(together.skipped.items(), 5))
        _log.warning(
            "%d of %d sentences of %s are left out: %s", len(together.skipped), len(lines), path, first
        )
    return PreparedWithText(folder), together


def _write(
    folder: Path,
    lines: Sequence[Line],
    prepared: PreparedUtterances,
    spelt: SpeltSentences,
    tokens: Tokens,
    speakers: Sequence[str],
) -> None:
    said: dict[Line, npt.NDArray[np.int32]] = {}
    skipped: dict[str, str] = {}
    for line in lines:
        try:
            said[line] = np.array(tokens.encode(line.text), np.int32)
        except ValueError as error:
            skipped[f"line {line.number}"] = str(error)
    if not said:
        raise ValueError(f"no line can be said; {next(': '.join(each) for each in skipped.items())}")
    lengths = np.array(list(map(len, said.values())))
    texts = [np.frombuffer(line.text.encode(), np.uint8) for line in said]
    texts_before = np.load(prepared.folder / TEXTS, mmap_mode="r")
    records = np.zeros(len(said), prepared.records.dtype)
    records["id"] = [line.id.encode() for line in said]
    records["speaker"] = _in_turn(records["id"], speakers)
    records["samples"] = (lengths * _samples_of_a_token(prepared, spelt)).round()
    records["text_bytes"] = list(map(len, texts))
    records["text"] = len(texts_before) + np.cumsum(records["text_bytes"]) - records["text_bytes"]
    records["split"], records["snr"] = Split.TRAIN, np.nan
    _save(folder / UTTERANCES, prepared.records, records)
    _save(folder / TEXTS, texts_before, *texts)
    _save(folder / _TOKENS, *said.values())
    _save(folder / _ENDS, np.cumsum(lengths))
    facts = {"sample_rate": prepared.sample_rate, "pieces": spelt.pieces, "skipped": skipped}
    (folder / FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def _save(path: Path, *parts: npt.NDArray[Any]) -> None:
    with GrowingNpy(path, parts[0].dtype) as file:
        for part in parts:
            file.append(part)


def _in_turn(ids: npt.NDArray[np.bytes_], speakers: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Who says each sentence; nobody says more than one more than another."""
    turns = np.empty(len(ids), np.int64)
    turns[hash_order(ids)] = np.arange(len(ids)) % len(speakers)
    return np.array([speaker.encode() for speaker in speakers])[turns]


def _samples_of_a_token(prepared: PreparedUtterances, spelt: SpeltSentences) -> float:
    """The mean over the training recordings."""
    rows = np.flatnonzero((prepared.records["split"] == Split.TRAIN) & spelt.usable)
    return float(
        prepared.records["samples"][rows].sum() / sum(len(spelt[row].tokens) for row in rows.tolist())
    )
