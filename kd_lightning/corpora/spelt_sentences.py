"""The sentences of a prepared corpus in the tokens of synthesis, spelt once, with how long each token lasts.

- ``tokens.npy``: int32, all sentences after each other
- ``durations.npy``: float32 seconds of each token; empty where the corpus does not tell
- ``ends.npy``: int64, where each sentence ends; one that cannot be used ends where it begins
- ``spelling.json``: the pieces, and the reason by utterance for those that cannot be used
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from kd_lightning.corpora.growing_npy import GrowingNpy
from kd_lightning.corpora.mapped import Mapped
from kd_lightning.corpora.phone_times import SUFFIX, align, read_phones
from kd_lightning.corpora.prepared_utterances import PreparedUtterances
from kd_lightning.corpora.utterance_files import Split
from kd_lightning.frontend.phonemes import Phonemes
from kd_lightning.frontend.spoken_characters import SpokenCharacters
from kd_lightning.frontend.tokens import Tokens

LEARNT = ("phonemes", "characters")
_TOKENS, _DURATIONS, _ENDS, _FACTS = "tokens.npy", "durations.npy", "ends.npy", "spelling.json"
_TOGETHER = 512


class Spelt(NamedTuple):
    """One sentence.

    Attributes:
        tokens: (U,) int32.
        seconds: (U,) float32, how long each lasts; ``None`` where the corpus does not tell.
    """

    tokens: npt.NDArray[np.int32]
    seconds: npt.NDArray[np.float32] | None


class SpeltSentences(Mapped):
    """The spelt sentences of a prepared corpus by the number of their record; everything stays mapped.

    Attributes:
        pieces: names of the tokens.
        skipped: reason by utterance id, for what cannot be used.
    """

    arrays: ClassVar[dict[str, str]] = {"_tokens": _TOKENS, "_seconds": _DURATIONS, "_ends": _ENDS}
    _tokens: npt.NDArray[np.int32]
    _seconds: npt.NDArray[np.float32]
    _ends: npt.NDArray[np.int64]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        self.pieces: list[str] = facts["pieces"]
        self.skipped: dict[str, str] = facts["skipped"]

    @property
    def has_durations(self) -> bool:
        """Whether it is known how long each token lasts."""
        return len(self._seconds) > 0

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """(N,) of every record, whether its sentence can be used."""
        return np.diff(self._ends, prepend=0) > 0

    def __getitem__(self, record: int) -> Spelt:
        """The sentence of a record by its number."""
        begin, end = int(self._ends[record - 1]) if record else 0, int(self._ends[record])
        return Spelt(self._tokens[begin:end], self._seconds[begin:end] if self.has_durations else None)


def spell_sentences(
    prepared: PreparedUtterances, kind: str, language: str, voice: str, brought: Tokens | None = None
) -> tuple[Tokens, SpeltSentences]:
    """Spell the sentences of a corpus, or open what was spelt before; one process at a time.

    Tokens are learnt from all training sentences. With phonemes, and with ``<id>.phones.tsv`` beside the recordings,
    the durations of the tokens are kept as well. Left out, with the reason, are sentences that the tokens cannot say:
    one that lacks a word would teach a network to make up what it is not told. Where there are phones, so are
    recordings that have none or others than are written.

    Args:
        prepared: the corpus.
        kind: one of ``LEARNT``.
        language: of the corpus, as in BCP 47.
        voice: espeak's name of a language or accent, for phonemes.
        brought: tokens of a network, in place of some of the corpus's own.

    Raises:
        ValueError: there is no such kind, or nothing to learn from.
        OSError: the disk is full (or the like); nothing is left behind.
    """
    if brought is not None:
        reads = getattr(brought, "voice", getattr(brought, "language", language))
        said = "\n".join([type(brought).__name__, reads, *brought.pieces])
        name = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
    elif kind in LEARNT:
        name = f"{kind}_{voice if kind == 'phonemes' else language}"
    else:
        raise ValueError(
            f"corpus.spelling={kind}: there are {', '.join(LEARNT)}, teacher and folders of finished runs"
        )
    folder = prepared.folder / f"spelt_{name}"
    if not folder.is_dir():
        aside = folder.with_name(folder.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            _write(aside, prepared, brought or _learnt(prepared, kind, language, voice))
            aside.rename(folder)
        except OSError as error:
            raise OSError(error.errno, f"cannot spell in {folder}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    spelt = SpeltSentences(folder)
    if brought is not None:
        return brought, spelt
    own = Phonemes(voice, spelt.pieces) if kind == "phonemes" else SpokenCharacters(language, spelt.pieces)
    return own, spelt


def _learnt(prepared: PreparedUtterances, kind: str, language: str, voice: str) -> Tokens:
    texts = (prepared.text(record) for record in prepared.records if record["split"] == Split.TRAIN)
    return Phonemes.of(texts, voice) if kind == "phonemes" else SpokenCharacters.of(texts, language)


def _write(folder: Path, prepared: PreparedUtterances, tokens: Tokens) -> None:
    phones = _phones(prepared) if isinstance(tokens, Phonemes) else {}
    skipped: dict[str, str] = {}
    with ExitStack() as files:
        numbers = files.enter_context(GrowingNpy(folder / _TOKENS, np.dtype("<i4")))
        durations = files.enter_context(GrowingNpy(folder / _DURATIONS, np.dtype("<f4")))
        ends = files.enter_context(GrowingNpy(folder / _ENDS, np.dtype("<i8")))
        for id, spelt in _spelt(prepared, tokens):
            try:
                if isinstance(spelt, str):
                    raise ValueError(spelt)
                if phones:
                    durations.append(np.array(_seconds(phones.get(id), [tokens.pieces[n] for n in spelt])))
                numbers.append(np.array(spelt))
            except ValueError as error:
                skipped[id] = str(error)
            ends.append(np.array([numbers.length]))
        if not numbers.length:
            raise ValueError(
                f"no sentence of the corpus can be used: {next(iter(skipped.values()), 'it has none')}"
            )
    facts = {"pieces": tokens.pieces, "skipped": skipped}
    (folder / _FACTS).write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


def _spelt(prepared: PreparedUtterances, tokens: Tokens) -> Iterator[tuple[str, list[int] | str]]:
    """The id of every record with its tokens, or with the reason why there are none."""
    records = tqdm(prepared.records, desc="spelling", unit="sentence", mininterval=0.5, disable=None)
    stream = ((record["id"].decode(), prepared.text(record)) for record in records)
    while together := list(islice(stream, _TOGETHER)):
        ids, texts = zip(*together, strict=True)
        yield from zip(ids, _encoded(tokens, texts), strict=True)


def _encoded(tokens: Tokens, texts: Sequence[str]) -> Sequence[list[int] | str]:
    if isinstance(tokens, Phonemes):
        try:
            return tokens.encode_all(texts)  # a call of espeak takes long, a sentence more does not
        except ValueError:
            pass  # one of them; which one?
    return [_attempt(tokens, text) for text in texts]


def _attempt(tokens: Tokens, text: str) -> list[int] | str:
    try:
        return tokens.encode(text) or f"nothing of {text!r} can be spelt"
    except ValueError as error:
        return str(error)


def _phones(prepared: PreparedUtterances) -> dict[str, Path]:
    """The file of phones by utterance id, of those that have one."""
    beside = {
        cut.id: Path(cut.recording.sources[0].source).with_suffix(SUFFIX)
        for split in Split
        for cut in prepared.cuts(split)
    }
    return {id: path for id, path in beside.items() if path.is_file()}


def _seconds(path: Path | None, pieces: Sequence[str]) -> list[float]:
    """How long each token of a sentence lasts.

    Raises:
        ValueError: its phones are not known, damaged, or not those of the tokens.
    """
    if path is None:
        raise ValueError(f"there is no {SUFFIX} beside it, as beside others")
    seconds = align(read_phones(path), pieces)
    if seconds is None:
        raise ValueError(f"{path.name} has other phones than are written")
    return seconds
