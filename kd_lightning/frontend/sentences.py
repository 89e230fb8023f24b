"""Texts in parts that are said in one go: clauses, after which a voice pauses, and sentences."""

import re
from collections.abc import Iterator
from typing import NamedTuple

#: What a voice pauses at.
MARKS = ",;:.!?…—"
_ENDS = ".!?…"
# Before a space only, so that 10.5, 3:30 and U.S. stay whole; dashes and ellipses anywhere. What closes a quotation or
# a bracket belongs to the clause before.
_CLOSING = r"""["'”’»)\]]*"""  # noqa: RUF001
_CLAUSE_END = re.compile(
    rf"\s*(?:[—…]|-{{2,}}|\.{{3,}}|\s-(?=\s)|[,;:.!?]+(?={_CLOSING}(?:\s|$)))+{_CLOSING}"
)
_WORD = re.compile(r"\w")
# The pronoun I is the one capital that ends sentences.
_ABBREVIATED = re.compile(r"\b(?:[A-HJ-Z]|Mr|Mrs|Ms|Dr|Prof|St|Rev|Gen|Col|Capt|Lt|Sgt|vs)\.$")


class Clause(NamedTuple):
    """A part of a text; the text is its clauses, each ``words + end``, one after the other.

    Attributes:
        words: what is said.
        end: the marks after it as they are written, with spaces and closing quotation marks and brackets.
    """

    words: str
    end: str

    @property
    def marks(self) -> list[str]:
        """What the voice pauses at, out of ``MARKS``, each once."""
        written = re.sub(r"\.{3,}", "…", re.sub("-+", "—", self.end))
        return list(dict.fromkeys(mark for mark in written if mark in MARKS))


def clauses(text: str) -> Iterator[Clause]:
    """The clauses of a text; the last may have no mark, and a text of marks has clauses without words."""
    start = 0
    for end in _CLAUSE_END.finditer(text):
        if not (end[0] == "." and _ABBREVIATED.search(text, start, end.end())):
            yield Clause(text[start : end.start()], end[0])
            start = end.end()
    if text[start:].strip():
        yield Clause(text[start:], "")


def split_sentences(text: str, most_words: int) -> list[str]:
    """Cut a long text at its sentences, and longer sentences at their clauses, or else anywhere between words.

    Args:
        text: of any length; line breaks are spaces.
        most_words: that a part has, counted by the spaces between them; marks that would be alone in a part stay with
            its neighbour.

    Returns:
        The parts in order, together the whole text, with one space between words.

    Raises:
        ValueError: the text has no word, or ``most_words`` is below 1.
    """
    if most_words < 1:
        raise ValueError(f"a sentence has at least a word: most_words is {most_words}")
    if not _WORD.search(text):
        raise ValueError(f"there is nothing to say in {text!r}")
    sentences: list[list[str]] = [[]]
    begun = ended = False
    for clause in clauses(text):
        has_words = bool(_WORD.search(clause.words))
        if ended and has_words:  # marks alone, as in ". . .", stay with what they follow
            sentences.append([])
            begun = ended = False
        sentences[-1].append("".join(clause))
        begun |= has_words
        ended |= begun and any(mark in _ENDS for mark in clause.marks)
    return [part for sentence in sentences for part in _parts(sentence, most_words)]


def _parts(sentence: list[str], most_words: int) -> list[str]:
    """A sentence, given by its clauses: whole if it may be, else as many clauses or words at a time as may be.

    Nobody can say marks alone, so these stay with the part before them.
    """
    words = "".join(sentence).split()
    if len(words) <= most_words:
        return [" ".join(words)]
    parts: list[list[str]] = [[]]
    for clause in sentence:
        words = clause.split()
        if len(parts[-1]) + len(words) > most_words:
            parts.append([])
        parts[-1] += words
    cut = (part[at : at + most_words] for part in parts for at in range(0, len(part), most_words))
    sayable: list[str] = []
    for part in map(" ".join, filter(None, cut)):
        if sayable and not (_WORD.search(part) and _WORD.search(sayable[-1])):
            sayable[-1] += f" {part}"
        else:
            sayable.append(part)
    return sayable
