"""What a check finds, in a line."""

from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


class Finding(NamedTuple):
    """One line of a doctor's report.

    Attributes:
        level: whether it is as it should be.
        what: was looked at: "teacher", "classes", "time".
        says: what was found, in numbers where there are any.
    """

    level: Level
    what: str
    says: str


def ok(what: str, says: str) -> Finding:
    """All is as it should be."""
    return Finding(Level.OK, what, says)


def warning(what: str, says: str) -> Finding:
    """It will run, and probably not as it was meant; ``says`` what to do."""
    return Finding(Level.WARNING, what, says)


def wrong(what: str, says: str) -> Finding:
    """It will not run, or to no purpose; ``says`` what to do."""
    return Finding(Level.WRONG, what, says)
