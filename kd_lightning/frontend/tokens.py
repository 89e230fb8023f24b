"""What a recogniser spells with: characters, or pieces of words learnt by sentencepiece.

Token 0 is the blank of CTC; for an attention decoder, which never says blank, the same number starts and ends the
sentence. The list of pieces is all that a finished run keeps, and enough to read its outputs.
"""

from __future__ import annotations

import io
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kd_lightning.files import write
from kd_lightning.frontend.text import WORD, words

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

BLANK = 0
BLANK_PIECE = "<blank>"
BOUNDARY = "\u2581"  # sentencepiece's mark of a word's beginning
_BYTES = re.compile("(?:<0x[0-9A-F]{2}>)+")  # pieces that are parts of a character


def decode(pieces: Sequence[str], tokens: Iterable[int]) -> str:
    """The text that tokens spell; blanks are silent.

    Args:
        pieces: V names, of characters, of sentencepiece or of byte pairs.
        tokens: any number, each below V.
    """
    spelt = "".join(pieces[token] for token in tokens if token != BLANK)
    spelt = _BYTES.sub(_characters, spelt)
    return " ".join(spelt.replace(BOUNDARY, " ").split())


def _characters(run: re.Match[str]) -> str:
    """What a run of bytes spells; bytes that are no character are left out."""
    return bytes.fromhex(run[0].replace("<0x", "").replace(">", "")).decode(errors="ignore")


def decoder_of(pieces: Sequence[str]) -> Callable[[Iterable[int]], str]:
    """Reads tokens with the list of pieces alone, as a finished run keeps it.

    Raises:
        ValueError: the list does not begin with the blank.
    """
    if not pieces or pieces[0] != BLANK_PIECE:
        raise ValueError(f"token 0 must be {BLANK_PIECE!r}, and these pieces begin with {list(pieces[:1])}")
    return lambda tokens: decode(pieces, tokens)


class Tokens(ABC):
    """Spells normalised texts.

    Attributes:
        pieces: V names, ``"<blank>"`` first.
    """

    pieces: list[str]

    @property
    def size(self) -> int:
        """V, the blank counted."""
        return len(self.pieces)

    def encode(self, text: str) -> list[int]:
        """Tokens of a normalised text, each in 1..V-1, without the words that are :meth:`unspellable`."""
        tokens = self._spell(text)
        if BLANK in tokens:
            rest = WORD.sub(lambda word: "" if BLANK in self._spell(word[0]) else word[0], text)
            tokens = self._spell(" ".join(rest.split()))
        return tokens

    def unspellable(self, text: str) -> list[str]:
        """Words of a normalised text that these tokens cannot spell, such as those with digits."""
        return [word for word in words(text) if BLANK in self._spell(word)]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text that tokens spell; blanks are silent."""
        return decode(self.pieces, tokens)

    @abstractmethod
    def _spell(self, text: str) -> list[int]:
        """Tokens of a text, 0 where there is none for it."""


class Characters(Tokens):
    """The blank, the space, then the letters in the order of Unicode.

    Args:
        letters: any order, repeated or not; the space is always there.
    """

    def __init__(self, letters: Iterable[str]) -> None:
        self.pieces = [BLANK_PIECE, " ", *sorted(set(letters) - {" "})]
        self._numbers = {piece: number for number, piece in enumerate(self.pieces)}

    @classmethod
    def of(cls, texts: Iterable[str], coverage: float = 1.0) -> Characters:
        """The letters of normalised texts. Digits are not among them: nobody hears how 10 is spelt.

        Args:
            texts: of the training set.
            coverage: share of all letters written that must be spelt, in (0, 1]. Below 1 the rarest letters, mostly
                of foreign words, are left out.

        Raises:
            ValueError: there is no letter.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(text)
        seen = [
            (-count, letter) for letter, count in counts.items() if letter != " " and not letter.isdigit()
        ]
        if not seen:
            raise ValueError("these texts hold no letter: an alphabet needs transcripts")
        missing, letters = -coverage * sum(count for count, _ in seen), []
        for count, letter in sorted(seen):
            if missing <= 0:
                break
            letters.append(letter)
            missing += count
        return cls(letters)

    def _spell(self, text: str) -> list[int]:
        return [self._numbers.get(letter, BLANK) for letter in text]


class Pieces(Tokens):
    """Pieces of words from a sentencepiece model (Kudo and Richardson 2018); see :func:`train_pieces`.

    Args:
        path: the model file.

    Raises:
        FileNotFoundError: there is none.
        ValueError: sentencepiece is not installed, the file is damaged, or its token 0 is not the unknown piece.
    """

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: there is no sentencepiece model; train one on the transcripts")
        require_sentencepiece()
        from sentencepiece import SentencePieceProcessor

        try:
            self._model: SentencePieceProcessor = SentencePieceProcessor(model_file=str(path))
        except (OSError, RuntimeError) as error:
            raise ValueError(
                f"{path} is no sentencepiece model ({error}): remove it and train it again"
            ) from error
        if self._model.unk_id() != BLANK:
            raise ValueError(f"{path}: its unknown piece is number {self._model.unk_id()}, and must be 0")
        # What sentencepiece cannot spell is its piece 0, and no text needs a blank: one slot serves both.
        self.pieces = [BLANK_PIECE, *(self._model.id_to_piece(n) for n in range(1, len(self._model)))]

    def _spell(self, text: str) -> list[int]:
        return self._model.encode(text)


def train_pieces(
    texts: Iterable[str],
    path: str | Path,
    size: int,
    kind: Literal["unigram", "bpe"] = "unigram",
    coverage: float = 1.0,
) -> Pieces:
    """Learn pieces of words from normalised texts; the same texts give the same file, byte for byte.

    Words with digits are left out of the texts, as from an alphabet.

    Args:
        texts: of the training set, read once, one sentence each.
        path: where the model goes, whole or not at all.
        size: number of pieces V, the blank counted.
        kind: ``unigram`` (Kudo 2018) or ``bpe`` (Sennrich et al. 2016).
        coverage: share of all letters written that must be spelt, in (0, 1]; 0.9995 suits scripts of many characters.

    Raises:
        ValueError: sentencepiece is not installed, there is no text, or it does not give so many pieces; says how many.
    """
    require_sentencepiece()
    from sentencepiece import SentencePieceTrainer

    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=(_without_digits(text) for text in texts),
            model_writer=model,
            vocab_size=size,
            model_type=kind,
            character_coverage=coverage,
            normalization_rule_name="identity",  # the texts are normalised
            unk_id=BLANK,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            num_threads=1,  # sums in one order
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(f"{path} was not trained: {_reason(str(error), size)}") from error
    write(Path(path), model.getvalue())
    return Pieces(path)


def require_sentencepiece() -> None:
    """Refuse to go on without sentencepiece.

    Raises:
        ValueError: names the extra that brings it.
    """
    try:
        import sentencepiece  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "pieces of words need sentencepiece: pip install 'kd_lightning[recognition]'"
        ) from error


def _without_digits(text: str) -> str:
    return WORD.sub(lambda word: "" if any(map(str.isdigit, word[0])) else word[0], text)


def _reason(message: str, size: int) -> str:
    """What sentencepiece means, in the terms of the caller."""
    if found := re.search(r"too high \(\d+\).* <= (\d+)", message):
        return f"{size} pieces are more than these texts give; at most {found[1]} are possible"
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return f"{size} pieces are fewer than the letters need; at least {found[1]}, or a coverage below 1"
    if "sentences_.empty()" in message:
        return "there is no text to learn from"
    return message
