"""Successive halving: many students for few epochs, the better half of them for twice as many.

Jamieson & Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016. Each run
begins anew with a schedule of its own length: a long one that is cut short would rank students by what they have learnt
before the rate falls.
"""

from math import ceil
from typing import NamedTuple

# So many can be told apart in one go.
HANDFUL = 4


class Round(NamedTuple):
    """So many students that are trained for so many epochs."""

    students: int
    epochs: int


def rounds(students: int, longest: int) -> list[Round]:
    """The rounds until a handful is left, which is trained for ``longest`` epochs.

    Args:
        students: at least one.
        longest: epochs of the last round; half as many, and at least one, in the round before.
    """
    counts = [students]
    while counts[-1] > HANDFUL:
        counts.append(ceil(counts[-1] / 2))
    return [Round(count, max(1, longest >> (len(counts) - 1 - place))) for place, count in enumerate(counts)]
