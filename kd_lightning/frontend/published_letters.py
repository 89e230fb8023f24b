"""What torchaudio's Tacotron 2 for LJ Speech is told to say: letters and marks, in an order of its own."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from string import ascii_lowercase

from kd_lightning.frontend.tokens import BLANK, BLANK_PIECE, Tokens

# Token 0, the padding, is written "_" there.
_PIECES = (BLANK_PIECE, *"-!'(),.:;? ", *ascii_lowercase)
# Marks that a text has and the network has not, as its training texts had them.
_ASCII = str.maketrans({"—": "-", "–": "-", "’": "'", "‘": "'"})  # noqa: RUF001
# Punctuation to Unicode, and words to a reader.
_READ_OUT = frozenset("%&@#*/\\")


class PublishedLetters(Tokens):
    """Spells sentences with the 38 symbols of ``torchaudio.pipelines.TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH``.

    Capitals are small letters, accents are left out, and so are marks that nobody hears, such as quotation marks. The
    network's training texts had numbers and abbreviations in words, as those of LibriTTS have.
    """

    def __init__(self) -> None:
        self.pieces = list(_PIECES)
        self._numbers = {piece: number for number, piece in enumerate(_PIECES)}

    def encode(self, text: str) -> list[int]:
        """Tokens of a sentence, each in 1..37.

        Raises:
            ValueError: the text has no letter, or characters that these tokens cannot say, which are named.
        """
        written = _written(text)
        if wrong := sorted({letter for letter in written if letter not in self._numbers}):
            raise ValueError(f"cannot say {', '.join(map(repr, wrong))} in {text!r}: write it in words")
        if not set(written) & set(ascii_lowercase):
            raise ValueError(f"there is nothing to say in {text!r}")
        return self._spell(written)

    def unspellable(self, text: str) -> list[str]:
        """Words with a character that no token says."""
        return [word for word in text.split() if BLANK in self._spell(_written(word))]

    def decode(self, tokens: Iterable[int]) -> str:
        return "".join(self.pieces[token] for token in tokens if token != BLANK)

    def _spell(self, text: str) -> list[int]:
        return [self._numbers.get(letter, BLANK) for letter in text]


def _written(text: str) -> str:
    """A text in small letters without accents and without marks that nobody hears."""
    plain = unicodedata.normalize("NFKD", text.translate(_ASCII)).lower()
    heard = (letter for letter in plain if letter in _PIECES or letter in _READ_OUT or not _is_mark(letter))
    return " ".join("".join(heard).split())


def _is_mark(letter: str) -> bool:
    """Punctuation, and accents, which NFKD parts from their letters."""
    return unicodedata.category(letter)[0] in "MP"
