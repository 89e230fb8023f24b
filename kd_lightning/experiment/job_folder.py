"""The name of a job's folder in a sweep: the words that make the job what it is, whatever else is in the grid.

A number would name another job as soon as the grid grows. ``multirun/<name>/seed=0,transfer=none`` stays, so the same
command, or one with a larger grid, finds what is finished and what was cut off.
"""

import re
from collections.abc import Iterable
from hashlib import sha256

LONGEST_VALUE = 32
LONGEST_NAME = 200
DIGEST = 8


def job_folder(words: Iterable[str]) -> str:
    """A file name for the words of a job.

    Args:
        words: of the command line, such as ``["transfer=none", "teacher.run=/runs/a/teacher"]``, in any order.

    Returns:
        The words as they are typed, where a file may be called so; short keys such as ``transfer`` and ``seed`` come
        first. Letters that have no place in a name become dashes, and long values and a long name are cut; then a
        digest of the whole tells them apart. ``defaults`` without any word.
    """
    told = sorted(words, key=lambda word: ("." in word.partition("=")[0], word))
    whole = ",".join(told)
    shown = ",".join(_shortened(word) for word in told)[:LONGEST_NAME]
    if shown == whole:
        return whole or "defaults"
    return f"{shown},{sha256(whole.encode()).hexdigest()[:DIGEST]}"


def _shortened(word: str) -> str:
    """A word for a file name; paths and lists end in what tells them apart."""
    key, equals, value = word.partition("=")
    shown = re.sub(r"[^\w.+~-]+", "-", value, flags=re.ASCII).strip("-")
    if len(shown) > LONGEST_VALUE:
        shown = shown[-LONGEST_VALUE:].partition("-")[2] or shown[-LONGEST_VALUE:]
    return key.replace("/", "-") + equals + shown
