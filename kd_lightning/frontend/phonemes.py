"""What an acoustic network is told to say: espeak-ng's phonemes, one token a phone, through phonemizer.

phonemizer (an extra) loads a copy of the library of its own, so it and :class:`~kd_lightning.corpora.espeak.Espeak`
do not hear of one another even in one process.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from kd_lightning.frontend.sentences import MARKS, clauses
from kd_lightning.frontend.tokens import BLANK, BLANK_PIECE, Tokens

if TYPE_CHECKING:
    from phonemizer.backend import EspeakBackend

BOUNDARY_PIECE = "_"  # the silence before and after a sentence
_STRESS = "ˈˌ"
# What marks are said like that no text had; the comma and the full stop themselves are left out then.
_LIKE = {"!": ".", "?": ".", "…": ".", ";": ",", ":": ",", "—": ","}
# Voices, by language, that can say no other letters than Latin ones: they spell those by name ("chinese letter").
_LATIN = {
    "af", "ca", "cs", "cy", "da", "de", "en", "es", "et", "eu", "fi", "fr", "ga", "hr", "hu", "id", "is", "it", "lt",
    "lv", "nb", "nl", "pl", "pt", "ro", "sk", "sl", "sq", "sv", "sw", "tr", "vi",
}  # fmt: skip


class Phonemes(Tokens):
    """Spells sentences with phones as a voice of espeak-ng says them.

    A sentence is a boundary, its phones and its punctuation marks (``sentences.MARKS``), and a boundary; between words
    there is nothing. A phone has its stress before it; one that was learnt with another stress only is said with that.
    Texts need not be normalised: espeak reads numbers and the common signs.

    Args:
        voice: espeak's name of a language or accent, ``"en-us"``.
        pieces: the blank, the boundary, marks and phones; :meth:`of` learns them from texts.

    Raises:
        ValueError: the pieces do not begin with the blank and the boundary.
    """

    def __init__(self, voice: str, pieces: Sequence[str]) -> None:
        if list(pieces[:2]) != [BLANK_PIECE, BOUNDARY_PIECE]:
            raise ValueError(
                f"phonemes begin with {BLANK_PIECE!r} and {BOUNDARY_PIECE!r}, these with {list(pieces[:2])}"
            )
        self.voice = voice
        self.pieces = list(pieces)
        self._numbers = {piece: number for number, piece in enumerate(pieces)}
        for number, piece in enumerate(pieces):  # those without stress come first
            for stress in ("", *_STRESS):
                self._numbers.setdefault(stress + without_stress(piece), number)

    @classmethod
    def of(cls, texts: Iterable[str], voice: str) -> Phonemes:
        """The marks and the phones of texts, each in the order of Unicode.

        Args:
            texts: of the training set.
            voice: espeak's name of a language or accent.

        Raises:
            ModuleNotFoundError: phonemizer is not installed.
            ValueError: espeak has no such voice, or says nothing for these texts.
        """
        seen = {piece for pieces in phonemised(texts, voice) for piece in pieces}
        if not _phones(seen):
            raise ValueError("espeak says nothing for these texts: phonemes need transcripts")
        return cls(voice, [BLANK_PIECE, BOUNDARY_PIECE, *sorted(seen & set(MARKS)), *sorted(_phones(seen))])

    def encode(self, text: str) -> list[int]:
        """Tokens of a sentence, each in 1..V-1; see :meth:`encode_all`."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Iterable[str]) -> list[list[int]]:
        """Tokens of sentences, some ten thousand a second.

        Raises:
            ModuleNotFoundError: phonemizer is not installed.
            ValueError: espeak has no such voice; or a text has nothing to say, or characters or words that no token
                says, which are named: here nothing is left out in silence, for it would be missing from the speech.
        """
        texts = list(texts)
        for text in texts:
            if wrong := self._unsayable_characters(text):
                raise ValueError(
                    f"the voice {self.voice!r} cannot say {', '.join(map(repr, wrong))} in {text!r}"
                )
        encoded = []
        for text, pieces in zip(texts, phonemised(texts, self.voice), strict=True):
            if not _phones(pieces):
                raise ValueError(f"there is nothing to say in {text!r}")
            tokens = self._tokens(pieces)
            if BLANK in tokens:
                raise ValueError(
                    f"nobody said the phones of {', '.join(map(repr, self.unspellable(text)))} in the texts that these "
                    f"tokens were learnt from; they are in {text!r}"
                )
            encoded.append(tokens)
        return encoded

    def unspellable(self, text: str) -> list[str]:
        """Words with a character or a phone that no token says."""
        words = text.split()
        strange = [bool(self._unsayable_characters(word)) for word in words]
        if not any(strange) and BLANK not in self._spell(text):
            return []
        spelt = phonemised(
            ("" if odd else word for word, odd in zip(words, strange, strict=True)), self.voice
        )
        wrong = [
            word
            for word, odd, pieces in zip(words, strange, spelt, strict=True)
            if odd or BLANK in self._tokens(pieces)
        ]
        return wrong or words  # a word may sound as no token does beside others only

    def _spell(self, text: str) -> list[int]:
        return self._tokens(phonemised([text], self.voice)[0])

    def _tokens(self, pieces: list[str]) -> list[int]:
        """Tokens of phones and marks, 0 for a phone without one, between two boundaries."""
        tokens = [self._numbers[BOUNDARY_PIECE]]
        for piece in pieces:
            if piece not in MARKS:
                tokens.append(self._numbers.get(piece, BLANK))
            elif (mark := piece if piece in self._numbers else _LIKE.get(piece)) in self._numbers:
                tokens.append(self._numbers[mark])
        return [*tokens, self._numbers[BOUNDARY_PIECE]]

    def _unsayable_characters(self, text: str) -> list[str]:
        text = unicodedata.normalize("NFC", text)
        return [character for character in dict.fromkeys(text) if _is_unsayable(character, self.voice)]


def phonemised(texts: Iterable[str], voice: str) -> list[list[str]]:
    """The phones and marks of texts, without boundaries.

    Every clause is read by itself, for phonemizer's own way to keep punctuation puts marks into other texts.

    Args:
        texts: one sentence each.
        voice: espeak's name of a language or accent.

    Raises:
        ModuleNotFoundError: phonemizer is not installed.
        ValueError: espeak has no such voice.
    """
    in_clauses = [list(clauses(unicodedata.normalize("NFC", text))) for text in texts]
    read = iter(_read([clause.words for text in in_clauses for clause in text], voice))
    return [[piece for clause in text for piece in (*next(read), *clause.marks)] for text in in_clauses]


def without_stress(phone: str) -> str:
    """A phone without its mark of stress."""
    return phone.lstrip(_STRESS)


def _phones(pieces: Iterable[str]) -> set[str]:
    return set(pieces) - set(MARKS)


def _read(clauses: list[str], voice: str) -> list[list[str]]:
    """The phones of texts without marks."""
    backend = _backend(voice)
    from phonemizer.separator import Separator

    said = backend.phonemize(clauses, Separator(phone="|", word=" "), strip=True)
    return [[phone for phone in re.split("[| ]", line) if phone] for line in said]


@cache
def _backend(voice: str) -> EspeakBackend:
    try:
        import espeakng_loader
        from phonemizer.backend import EspeakBackend
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
        from phonemizer.logger import get_logger
    except ImportError as error:
        raise ModuleNotFoundError(
            "phonemes come from espeak-ng through phonemizer: pip install 'kd_lightning[synthesis]'"
        ) from error
    logger = get_logger("quiet")
    logger.propagate = False  # that words run together ("of the") is no mistake
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    if not EspeakBackend.is_supported_language(voice):
        raise ValueError(f"espeak-ng has no voice {voice!r}: name a language or accent, such as en-us")
    return EspeakBackend(
        voice,
        punctuation_marks=re.compile("(?!)"),  # none: what is left inside words is for espeak to read
        with_stress=True,
        language_switch="remove-flags",
        logger=logger,
    )


@cache
def _is_unsayable(character: str, voice: str) -> bool:
    """Whether espeak says nothing for a character, or spells it as a letter of another script."""
    kind = unicodedata.category(character)
    if kind in ("Lu", "Ll", "Lt", "Lo"):
        return voice.partition("-")[0] in _LATIN and "LATIN" not in unicodedata.name(character, "")
    if kind[0] == "S":
        return not _read([character], voice)[0]
    return kind in ("Cc", "Cn", "Co", "Cs") and not character.isspace()
