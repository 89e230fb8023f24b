"""Transcripts as they are trained on, and the one form in which they are scored.

Unicode decides what a letter is, not a list of alphabets: letters, their marks and digits stay, all else separates
words. So a sentence of any Common Voice locale comes out readable; the few languages that need more have it below.
"""

import re
import unicodedata

# Raise it with every change that gives some sentence another scoring form: error rates compare within one version only.
SCORING_VERSION = 1

APOSTROPHE = "'"
_APOSTROPHES = frozenset("'`´‘’‛ʹʻʼʽˈ′՚׳ꞌ＇")  # noqa: RUF001  all of them are written for the same sign
_DOTTED_I = frozenset({"tr", "az", "crh", "gag"})  # Turkish and its kin write a small I without a dot
# What spells the same word twice: Russian seldom writes the dots of ё, French writes cœur and coeur.
_VARIANTS = {"ru": {"ё": "е"}, "fr": {"œ": "oe", "æ": "ae"}}  # noqa: RUF001
# Arabic short vowels and the stretching of a word: optional, and most writers leave them out.
_OPTIONAL = frozenset({0x0640, *range(0x064B, 0x0653), 0x0670})

# Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana and Han.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS = "".join(
    chr(code)
    for block in (range(0x0E00, 0x0F00), range(0x1000, 0x10A0), range(0x1780, 0x1800), range(0x3099, 0x309B))
    for code in block
    if unicodedata.category(chr(code)).startswith("M")
)
_NO_BREAK = re.compile(rf"(?<=[{_UNSPACED}]) +(?=[{_UNSPACED}])")
_EDGES = re.compile(r"^\W+|['·]+$")

#: Finds the words of a normalised text; in a script without spaces every character, with its marks, is a word.
WORD = re.compile(rf"(?![{_MARKS}])[{_UNSPACED}][{_MARKS}]*|(?:[^\s{_UNSPACED}]|[{_MARKS}])+")


def normalise(text: str, language: str) -> str:
    """A transcript in the spelling that networks learn.

    Unicode NFKC; small letters as the language writes them (Turkish has two i); one apostrophe, inside words only
    (don't, l'homme); dashes and all other punctuation and symbols separate words; one space between words, and none
    in scripts that write none. Digits stay, for they may be read in many ways: the tokens report them
    (:meth:`~kd_lightning.frontend.tokens.Tokens.unspellable`). Normalising twice changes nothing.

    Args:
        text: as published.
        language: code or Common Voice locale: ``en``, ``tr``, ``zh-CN``. Only what comes before the ``-`` counts.
    """
    language = base_language(language)
    signs = _SIGNS_OF.get(language, _SIGNS)
    # Signs first: NFKC would break an acute accent into a space and a mark, and ™ into letters of the word before.
    text = unicodedata.normalize("NFKC", text.translate(signs))
    if language in _DOTTED_I:
        text = text.replace("İ", "i").replace("I", "ı")  # noqa: RUF001
    # Python lowers İ to an i with a second dot above, which no other language writes.
    text = text.lower().replace("i\u0307", "i")
    text = unicodedata.normalize("NFC", text.translate(signs))
    text = " ".join(word for word in (_EDGES.sub("", word) for word in text.split()) if word)
    return joined(text)


def words(text: str) -> list[str]:
    """The words of a normalised text. In scripts without spaces these are the characters."""
    return WORD.findall(text)


def joined(text: str) -> str:
    """A text without the spaces between characters of scripts that write none."""
    return _NO_BREAK.sub("", text)


def scoring_form(text: str, language: str) -> str:
    """The form in which every word error rate is counted, of references and outputs alike; see ``SCORING_VERSION``.

    The normalised text with one spelling for words that have two, and a space between all words, so that Chinese
    words are characters. A text in this form already comes back unchanged.

    Args:
        text: what was said or recognised.
        language: code or Common Voice locale.
    """
    text = normalise(text, language)
    for spelling, other in _VARIANTS.get(base_language(language), {}).items():
        text = text.replace(spelling, other)
    return " ".join(words(text))


class _Signs(dict[int, str]):
    """What ``str.translate`` makes of each code point; filled as code points are met.

    Args:
        letters: signs that the language takes for letters.
    """

    def __init__(self, letters: str = "") -> None:
        super().__init__({ord(letter): letter for letter in letters})

    def __missing__(self, code: int) -> str:
        self[code] = sign = _sign(chr(code))
        return sign


def _sign(character: str) -> str:
    if character in _APOSTROPHES:
        return APOSTROPHE
    category = unicodedata.category(character)
    if category in ("Cf", "Me") or ord(character) in _OPTIONAL:
        return ""
    if category == "Mn" and "VARIATION SELECTOR" in unicodedata.name(character, ""):
        return ""
    return character if category[0] in "LMN" else " "


_SIGNS = _Signs()
_SIGNS_OF = {"ca": _Signs("·")}  # no letter to Unicode, but to Catalan: col·legi


def base_language(language: str) -> str:
    """``zh`` of ``zh-CN``: what decides how a text is normalised."""
    return re.split("[-_]", language, maxsplit=1)[0].lower()
