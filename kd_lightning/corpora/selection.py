"""Which clips are used, under which class: words, unknown, silence; the labelled fraction; a few to debug.

A choice among clips goes by a hash of their ids, so it is the same on every machine and for every seed, and a
smaller choice is part of a larger one.
"""

import difflib
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kd_lightning.corpora.layout import SILENCE, UNKNOWN, Split

Integers = npt.NDArray[np.int64]

_NOT_A_CLASS = -1


class Selection(NamedTuple):
    """Clips of one split: ``rows`` (N,) of the index in its order, and the class (N,) of each."""

    rows: Integers
    labels: Integers

    def take(self, chosen: npt.NDArray[Any]) -> "Selection":
        """The clips at positions (or a mask) ``chosen``."""
        return Selection(self.rows[chosen], self.labels[chosen])


class Classes:
    """The classes and how words become them.

    Args:
        available: words of the corpus by number, as the index has them; SILENCE is the seconds of background
            noise.
        words: the words that are classes, in this order; None for every word of the corpus.
        unknown: whether the other words together are the class ``_unknown_``.
        silence: whether seconds of background noise are the class ``_silence_``.

    Attributes:
        names: the classes by label.

    Raises:
        ValueError: a word that the corpus lacks, a word twice, or no other word left to be unknown.
    """

    def __init__(
        self, available: Sequence[str], words: Sequence[str] | None, unknown: bool, silence: bool
    ) -> None:
        spoken = sorted(word for word in available if word not in (UNKNOWN, SILENCE))
        self.words = spoken if words is None else list(words)
        if not self.words:
            raise ValueError(
                "corpus.words is empty: name at least one word, or null for all words of the corpus"
            )
        if len(set(self.words)) < len(self.words):
            raise ValueError(f"corpus.words names a word twice: {', '.join(self.words)}")
        for word in self.words:
            if word not in spoken:
                close = ", ".join(difflib.get_close_matches(word, spoken)) or ", ".join(spoken)
                raise ValueError(f"corpus.words: the corpus has no word {word!r}; did you mean {close}?")
        if unknown and len(self.words) == len(spoken):
            raise ValueError(
                "corpus.unknown=true needs words beside corpus.words: name fewer, or set it to false"
            )
        self.names = self.words + [UNKNOWN] * unknown + [SILENCE] * silence
        self._labels = np.full(len(available), _NOT_A_CLASS)
        for number, word in enumerate(available):
            name = word if word in self.words or word == SILENCE else UNKNOWN
            if name in self.names:
                self._labels[number] = self.names.index(name)
        self._available = list(available)

    def select(self, clips: npt.NDArray[np.void], split: Split) -> Selection:
        """The clips of a split with their classes.

        Unknown and silence get about as many clips as a word has on average (with ten words the published 10
        %), but the official test set is taken whole.
        """
        rows = np.flatnonzero(clips["split"] == split)
        selection = Selection(rows, self._labels[clips["word"][rows]])
        selection = selection.take(selection.labels != _NOT_A_CLASS)
        if split is Split.TEST_SET:
            return selection
        extra = selection.labels >= len(self.words)
        average = -(-int((~extra).sum()) // len(self.words))
        chosen = [np.flatnonzero(~extra)]
        for label in range(len(self.words), len(self.names)):
            candidates = np.flatnonzero(selection.labels == label)
            order = hash_order(clips["id"][selection.rows[candidates]])
            chosen.append(candidates[order[:average]])
        return selection.take(np.sort(np.concatenate(chosen)))

    def match_test_set(self, clips: npt.NDArray[np.void]) -> bool:
        """Whether the official test set is there and its classes are these."""
        words = np.unique(clips["word"][clips["split"] == Split.TEST_SET])
        return {self._available[word] for word in words} == set(self.names)

    def require(self, selection: Selection, skipped: dict[str, str]) -> None:
        """Check that every class has a training clip.

        Raises:
            ValueError: naming the first that has none, and how many of its files could not be read.
        """
        counts = np.bincount(selection.labels, minlength=len(self.names))
        for label in np.flatnonzero(counts == 0):
            name = self.names[label]
            unreadable = [id for id in skipped if id.split("/")[-2] == name]
            why = (
                f": {len(unreadable)} of its files cannot be read, e.g. {unreadable[0]}" if unreadable else ""
            )
            missing = "background noise of a second or more" if name == SILENCE else "training clip"
            raise ValueError(f"class {name!r} has no {missing}{why}; add some, or change corpus.words")


def labelled(
    selection: Selection, clips: npt.NDArray[np.void], fraction: float, names: Sequence[str]
) -> Integers:
    """Positions (M,) in the selection whose labels may be seen: the same share of every class.

    Those of a smaller fraction are among those of a larger one.

    Raises:
        ValueError: the fraction is not in (0, 1] or leaves a class without a label.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"corpus.labelled_fraction={fraction} is not in (0, 1]")
    if fraction == 1:
        return np.arange(len(selection.rows))
    chosen = []
    for label, name in enumerate(names):
        members = np.flatnonzero(selection.labels == label)
        count = round(fraction * len(members))
        if count == 0:
            raise ValueError(
                f"corpus.labelled_fraction={fraction} leaves class {name!r} without a label: "
                f"it has {len(members)} training clips; raise the fraction"
            )
        chosen.append(members[hash_order(clips["id"][selection.rows[members]])[:count]])
    return np.sort(np.concatenate(chosen))


def first(selection: Selection, count: int) -> Selection:
    """The first ``count`` clips, taken from the classes in turn."""
    order = np.argsort(selection.labels, kind="stable")
    labels = selection.labels[order]
    turn = np.arange(len(labels)) - np.searchsorted(labels, labels)
    in_turn = order[np.argsort(turn, kind="stable")]
    return selection.take(np.sort(in_turn[:count]))


def hash_order(ids: npt.NDArray[np.bytes_]) -> Integers:
    keys = [int.from_bytes(hashlib.blake2b(id, digest_size=8).digest(), "big") for id in ids.tolist()]
    return np.argsort(np.array(keys, np.uint64), kind="stable")
