"""What an acoustic network is told to say, spelt with the letters of the text and the marks a voice pauses at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kd_lightning.frontend.phonemes import BOUNDARY_PIECE
from kd_lightning.frontend.sentences import MARKS, clauses
from kd_lightning.frontend.text import normalise
from kd_lightning.frontend.tokens import BLANK, BLANK_PIECE, Tokens, decode

_BOUNDARY = 1  # the number of BOUNDARY_PIECE


def spoken_form(text: str, language: str) -> str:
    """A text as a network reads it aloud: normalised words, and after each clause its marks.

    Transcripts of recognition come without marks, which nobody hears; a voice pauses there, and rises at a question.

    Args:
        text: as published.
        language: as in BCP 47.
    """
    said = ((normalise(clause.words, language), "".join(clause.marks)) for clause in clauses(text))
    return " ".join(words + marks for words, marks in said if words)


class SpokenCharacters(Tokens):
    """Spells sentences, as they are written, with letters, spaces and marks between two boundaries.

    Args:
        language: of the texts, as in BCP 47.
        pieces: the blank, the boundary, then characters; :meth:`of` learns them from texts.

    Raises:
        ValueError: the pieces do not begin with the blank and the boundary.
    """

    def __init__(self, language: str, pieces: Sequence[str]) -> None:
        if list(pieces[:2]) != [BLANK_PIECE, BOUNDARY_PIECE]:
            raise ValueError(
                f"spoken characters begin with {BLANK_PIECE!r} and {BOUNDARY_PIECE!r}, these with {list(pieces[:2])}"
            )
        self.language = language
        self.pieces = list(pieces)
        self._numbers = {piece: number for number, piece in enumerate(pieces)}

    @classmethod
    def of(cls, texts: Iterable[str], language: str) -> SpokenCharacters:
        """The characters of texts. Digits are not among them: 10 is read in many ways.

        Args:
            texts: of the training set.
            language: of the texts.

        Raises:
            ValueError: there is no letter.
        """
        seen = {letter for text in texts for letter in spoken_form(text, language) if not letter.isdigit()}
        if seen <= {" ", *MARKS}:
            raise ValueError("these texts hold no letter: an alphabet needs transcripts")
        return cls(language, [BLANK_PIECE, BOUNDARY_PIECE, " ", *sorted(seen - {" "})])

    def encode(self, text: str) -> list[int]:
        """Tokens of a sentence, each in 1..V-1; a mark that was never learnt is left out.

        Raises:
            ValueError: the text has no word, or characters that these tokens cannot say, which are named.
        """
        said = spoken_form(text, self.language)
        if wrong := sorted({letter for letter in said if BLANK in self._spell(letter)}):
            raise ValueError(
                f"cannot say {', '.join(map(repr, wrong))} in {text!r}: not in any training text; write it in words"
            )
        if not said:
            raise ValueError(f"there is nothing to say in {text!r}")
        return [_BOUNDARY, *self._spell(said), _BOUNDARY]

    def unspellable(self, text: str) -> list[str]:
        return super().unspellable(spoken_form(text, self.language))

    def decode(self, tokens: Iterable[int]) -> str:
        return decode(self.pieces, (token for token in tokens if token != _BOUNDARY))

    def _spell(self, text: str) -> list[int]:
        known = (letter for letter in text if letter in self._numbers or letter not in MARKS)
        return [self._numbers.get(letter, BLANK) for letter in known]
