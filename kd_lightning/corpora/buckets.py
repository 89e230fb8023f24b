"""Batches of utterances of about the same length, the same on every machine and after a restart."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from kd_lightning.labels.format import Unit

Integers = npt.NDArray[np.integer]
Seconds = npt.NDArray[np.float32]

# Lengths are sorted after each is stretched by up to this share: batches hold others in every pass, and little padding.
JITTER = 0.03


class Item(NamedTuple):
    """What a sampler asks for: view ``view`` of the utterance at position ``utterance`` of the dataset."""

    utterance: int
    view: int


class Buckets(Sampler[list[Item]]):
    """An endless stream of batches, cut into epochs; a restart goes on where it stopped.

    Pass p over the utterances shows view p mod ``views`` of each. Its batches follow from (seed, p) alone: all of them
    sorted by length, with some jitter, then cut where the longest times their number would exceed ``batch_seconds`` of
    each rank, then shuffled. Of every batch rank r takes utterances r, r + world_size, ..., so one process with as many
    seconds sees what the ranks see together.

    Args:
        utterances: (N,) positions in the dataset to draw from.
        seconds: view -> (N,) their lengths in it, which a change of speed makes others than those of the files.
        epoch_batches: batches in one epoch, whatever the number of utterances.
        batch_seconds: audio with padding in a batch of one rank; an utterance that is longer is a batch of its own.
        views: number of different views.
        seed: of the order.
        rank: of this process.
        world_size: number of processes.
        position: batches trained so far, asked whenever an epoch begins; iterating counts nothing itself.
    """

    def __init__(
        self,
        utterances: Integers,
        seconds: Callable[[int], Seconds],
        epoch_batches: int,
        batch_seconds: float,
        views: int,
        seed: int,
        rank: int,
        world_size: int,
        position: Callable[[], int],
    ) -> None:
        if len(utterances) < world_size:
            raise ValueError(f"{len(utterances)} utterances to draw from, for {world_size} processes")
        if views < 1 or batch_seconds <= 0:
            raise ValueError("corpus.views must be at least 1 and corpus.batch_seconds above 0")
        self._utterances, self._seconds = utterances, seconds
        self._epoch_batches, self._batch_seconds = epoch_batches, batch_seconds
        self._views, self._seed = views, seed
        self._rank, self._world_size, self._position = rank, world_size, position
        self._ends: list[int] = []  # of each pass so far, in batches from the start
        self._kept: tuple[int, list[Integers]] = (-1, [])

    def __len__(self) -> int:
        """Batches of one whole epoch."""
        return self._epoch_batches

    def __iter__(self) -> Iterator[list[Item]]:
        position = self._position()
        for batch in range(position, (position // self._epoch_batches + 1) * self._epoch_batches):
            number, chosen = self._batch(batch)
            mine = self._utterances[chosen[self._rank :: self._world_size]]
            yield [Item(int(utterance), number % self._views) for utterance in mine]

    def _batch(self, batch: int) -> tuple[int, Integers]:
        """The pass that a batch belongs to, and which of the utterances it holds."""
        while not self._ends or batch >= self._ends[-1]:
            begin = self._ends[-1] if self._ends else 0
            self._ends.append(begin + len(self._pass(len(self._ends))))
        number = bisect_right(self._ends, batch)
        return number, self._pass(number)[batch - self._ends[number]]

    def _pass(self, number: int) -> list[Integers]:
        """The batches of a pass; those of the last one asked for are kept."""
        if self._kept[0] != number:
            self._kept = number, self._cut(number)
        return self._kept[1]

    def _cut(self, number: int) -> list[Integers]:
        digest = hashlib.blake2b(f"{self._seed}/{number}".encode(), digest_size=16).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))
        jitter = generator.uniform(1 - JITTER, 1 + JITTER, len(self._utterances))
        seconds = self._seconds(number % self._views)
        order = np.argsort(seconds * jitter)[::-1]
        cut = pack(seconds[order], self._batch_seconds * self._world_size, self._world_size)
        return [order[begin:end] for begin, end in generator.permutation(np.array(cut))]


class EachOnce(Sampler[list[Item]]):
    """Every utterance once in its first view, in batches of about the same length, the longest first.

    Args:
        seconds: (N,) lengths of the utterances of the dataset.
        batch_seconds: audio with padding in a batch of one rank.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(self, seconds: Seconds, batch_seconds: float, rank: int, world_size: int) -> None:
        order = np.argsort(seconds, kind="stable")[::-1][rank::world_size]
        self._batches = [order[begin:end] for begin, end in pack(seconds[order], batch_seconds, 1)]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[list[Item]]:
        for batch in self._batches:
            yield [Item(int(utterance), 0) for utterance in batch]


class EachView(Sampler[list[Item]]):
    """Blocks of utterances, each in one view, in batches of about the same length, the longest first.

    Args:
        units: which utterances in which view; a batch never holds utterances of two.
        seconds: (N,) lengths of the utterances of the dataset.
        batch_seconds: audio with padding in a batch; 0 for utterances alone.
    """

    def __init__(self, units: Sequence[Unit], seconds: Seconds, batch_seconds: float) -> None:
        self._units, self._seconds, self._batch_seconds = units, seconds, batch_seconds

    def __len__(self) -> int:
        return sum(len(self._batches(unit)) for unit in self._units)

    def __iter__(self) -> Iterator[list[Item]]:
        for unit in self._units:
            for batch in self._batches(unit):
                yield [Item(int(utterance), unit.view) for utterance in batch]

    def _batches(self, unit: Unit) -> list[Integers]:
        order = unit.begin + np.argsort(self._seconds[unit.begin : unit.end], kind="stable")[::-1]
        return [order[begin:end] for begin, end in pack(self._seconds[order], self._batch_seconds, 1)]


def pack(seconds: Seconds, most: float, fewest: int) -> list[tuple[int, int]]:
    """Cut a sequence of utterances into batches.

    Args:
        seconds: (N,) lengths, about falling.
        most: the longest of a batch times their number is at most this, but for batches of ``fewest``.
        fewest: utterances in every batch.

    Returns:
        begin and end of each batch.
    """
    batches = []
    begin, longest = 0, 0.0
    for end, length in enumerate(seconds.tolist()):
        if end - begin >= fewest and max(longest, length) * (end - begin + 1) > most:
            batches.append((begin, end))
            begin, longest = end, 0.0
        longest = max(longest, length)
    # The shortest are left over: too few to be a batch, they join the one before.
    if len(seconds) - begin < fewest and batches:
        begin, _ = batches.pop()
    batches.append((begin, len(seconds)))
    return batches


def padding_share(seconds: Seconds, batches: list[Integers]) -> float:
    """The share of the samples of batches that are padding.

    Args:
        seconds: (N,) lengths.
        batches: which utterances are in each.
    """
    padded = sum(len(batch) * float(seconds[batch].max()) for batch in batches)
    return 1 - sum(float(seconds[batch].sum()) for batch in batches) / padded
