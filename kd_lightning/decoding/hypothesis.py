"""What every decoder returns."""

from typing import NamedTuple


class Hypothesis(NamedTuple):
    """A sentence that a network may have heard.

    Attributes:
        tokens: the sentence, without blanks and without its end.
        score: natural log of its probability as the decoder counts it; the higher the better.
        confidence: in [0, 1], comparable between sentences of different lengths; each decoder says what it is.
        ended: whether the decoder came to an end by itself; ``False`` where it was cut off at its limit.
    """

    tokens: list[int]
    score: float
    confidence: float
    ended: bool = True
