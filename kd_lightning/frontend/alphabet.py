"""The letters of a recogniser that was trained elsewhere, in its own order."""

from collections.abc import Sequence

from kd_lightning.frontend.tokens import BLANK, Tokens


class Alphabet(Tokens):
    """Spells with given letters; a token of several letters is read, and never written.

    Args:
        pieces: V names, the blank first.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = list(pieces)
        self._numbers = {piece: number for number, piece in enumerate(self.pieces)}

    def _spell(self, text: str) -> list[int]:
        # Some scripts are recognised without anything between words.
        letters = text if " " in self._numbers else text.replace(" ", "")
        return [self._numbers.get(letter, BLANK) for letter in letters]
