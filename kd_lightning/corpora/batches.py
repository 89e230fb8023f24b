"""Batches of keyword clips: what is in one, and which clips come when, on every rank and after a restart."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from kd_lightning.corpora.augment import Augment, NoiseBank, mixed
from kd_lightning.corpora.decoding import CLIP_SAMPLES
from kd_lightning.corpora.prepared import Prepared
from kd_lightning.corpora.selection import Integers, Selection
from kd_lightning.frontend.features import SpecMasks
from kd_lightning.labels.format import Stored, Unit
from kd_lightning.labels.reader import StoredLabels
from kd_lightning.losses.labels import IGNORE


class KeywordBatch(NamedTuple):
    """Clips of one second.

    Attributes:
        waveform: (B, T) float32 in [-1, 1].
        labels: (B,) int64; IGNORE where the label is hidden or the clip is a mixture of two.
        masks: SpecAugment's masks, none in evaluation.
        ids: (B,) cut ids.
        speakers: (B,) speakers.
        snr: (B,) float32 signal-to-noise ratio of the recording in dB, NaN where unknown.
        stored: what a teacher said of these clips in these views, where its labels are stored.
    """

    waveform: Tensor
    labels: Tensor
    masks: SpecMasks
    ids: list[str]
    speakers: list[str]
    snr: Tensor
    stored: Stored | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> "KeywordBatch":
        """The batch on a device. Lightning would look at each id and each speaker for something to move."""
        return self._replace(
            waveform=self.waveform.to(device, non_blocking=non_blocking),
            labels=self.labels.to(device, non_blocking=non_blocking),
            masks=self.masks.to(device, non_blocking),
            stored=None if self.stored is None else self.stored.to(device, non_blocking),
        )


class Item(NamedTuple):
    """What a sampler asks for: view ``view`` of the clip at position ``clip`` of the dataset."""

    clip: int
    view: int


class ClipDataset(Dataset[KeywordBatch]):
    """Reads whole batches from a prepared corpus; nothing of it is held in memory but rows and labels.

    Args:
        prepared: the corpus.
        selection: clips of one split and their classes.
        visible: positions in the selection whose labels may be seen; the others leave as IGNORE.
        augment: makes the views; None leaves every clip as it is. Where it mixes views, the partner is any clip of the
            selection in its own view of the same number, and the label of the mixture leaves as IGNORE.

    Attributes:
        prepared: the corpus.
        rows: (N,) of the prepared index, by position in the selection.
        labels: what a teacher said of each clip of the selection in each view, sent with every batch; None without.
    """

    def __init__(
        self, prepared: Prepared, selection: Selection, visible: Integers, augment: Augment | None = None
    ) -> None:
        self.prepared = prepared
        self.labels: StoredLabels | None = None
        self.rows = selection.rows
        self._labels = np.full(len(selection.rows), IGNORE)
        self._labels[visible] = selection.labels[visible]
        self._augment = augment

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: Item) -> KeywordBatch:
        return self.__getitems__([item])

    def __getitems__(self, items: list[Item]) -> KeywordBatch:
        """The clips and views ``items`` as one batch, in their order."""
        chosen, views = [item.clip for item in items], [item.view for item in items]
        clips = self.prepared.clips[self.rows[chosen]]
        ids = [id.decode() for id in clips["id"].tolist()]
        waveform = self._read(clips)
        time_masks, frequency_masks = self._augment_all(waveform, ids, views)
        labels = self._labels[chosen]
        labels[self._mix(waveform, ids, views)] = IGNORE
        return KeywordBatch(
            waveform=torch.from_numpy(waveform),
            labels=torch.from_numpy(labels),
            masks=SpecMasks(torch.from_numpy(time_masks), torch.from_numpy(frequency_masks)),
            ids=ids,
            speakers=[speaker.decode() for speaker in clips["speaker"].tolist()],
            snr=torch.from_numpy(clips["snr"].astype(np.float32)),
            stored=None if self.labels is None else self.labels.read(chosen, views),
        )

    def _read(self, clips: npt.NDArray[np.void]) -> npt.NDArray[np.float32]:
        """The seconds (N, T) that records of the index stand for."""
        waveform = np.empty((len(clips), CLIP_SAMPLES), np.float32)
        for clip, start in zip(waveform, clips["start"].tolist(), strict=True):
            np.multiply(self.prepared.audio[start : start + CLIP_SAMPLES], np.float32(1 / 32768), out=clip)
        return waveform

    def _augment_all(
        self, waveform: npt.NDArray[np.float32], ids: list[str], views: list[int]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Turn each clip into its view, in place; returns the masks in time and in frequency."""
        if self._augment is None:
            none = np.empty((len(ids), 0, 2), np.float32)
            return none, none
        noise = NoiseBank(self.prepared.audio, self.prepared.noise)
        augmented = [
            self._augment(clip, id, view, noise) for clip, id, view in zip(waveform, ids, views, strict=True)
        ]
        for clip, view_of_clip in zip(waveform, augmented, strict=True):
            clip[:] = view_of_clip.waveform
        return np.stack([a.time_masks for a in augmented]), np.stack([a.frequency_masks for a in augmented])

    def _mix(self, waveform: npt.NDArray[np.float32], ids: list[str], views: list[int]) -> list[int]:
        """Mix the views that are mixtures with their partners, in place; returns which of the batch they are."""
        if self._augment is None:
            return []
        drawn = [self._augment.mix(id, view) for id, view in zip(ids, views, strict=True)]
        mixes = {number: mix for number, mix in enumerate(drawn) if mix is not None}
        if mixes:
            clips = self.prepared.clips[self.rows[[int(mix.place * len(self)) for mix in mixes.values()]]]
            partners = self._read(clips)
            self._augment_all(
                partners, [id.decode() for id in clips["id"].tolist()], [views[n] for n in mixes]
            )
            for (number, mix), partner in zip(mixes.items(), partners, strict=True):
                waveform[number] = mixed(waveform[number], partner, mix.share)
        return list(mixes)


class ClipStream(Sampler[list[Item]]):
    """An endless stream of (clip, view), cut into batches and epochs; a restart goes on where it stopped.

    Pass p over the clips is a permutation drawn from (seed, p) and shows view p mod ``views``. Global batch b
    is the stream from b * batch_size * world_size on, and each rank takes its slice of it, so one process
    with a batch of twice the size sees what two ranks see together. An epoch has ``epoch_clips // (batch_size
    * world_size)`` batches, at least one, whatever the number of clips.

    Args:
        clips: (N,) positions in the dataset to draw from.
        epoch_clips: clips in one epoch.
        batch_size: clips in a batch of one rank.
        views: number of different views.
        seed: of the order.
        rank: of this process.
        world_size: number of processes.
        position: batches trained so far, asked whenever an epoch begins; iterating counts nothing itself.
    """

    def __init__(
        self,
        clips: Integers,
        epoch_clips: int,
        batch_size: int,
        views: int,
        seed: int,
        rank: int,
        world_size: int,
        position: Callable[[], int],
    ) -> None:
        if len(clips) == 0:
            raise ValueError("there are no clips to draw from")
        if min(batch_size, views, world_size) < 1:
            raise ValueError("corpus.batch_size, corpus.views and the number of processes must be at least 1")
        self._clips = clips
        self._batches = max(1, epoch_clips // (batch_size * world_size))
        self._batch_size, self._views, self._seed = batch_size, views, seed
        self._rank, self._world_size, self._position = rank, world_size, position
        self._pass = -1
        self._order = clips[:0]

    def __len__(self) -> int:
        """Batches of one whole epoch."""
        return self._batches

    def __iter__(self) -> Iterator[list[Item]]:
        position = self._position()
        for batch in range(position, (position // self._batches + 1) * self._batches):
            begin = (batch * self._world_size + self._rank) * self._batch_size
            yield [self._item(place) for place in range(begin, begin + self._batch_size)]

    def _item(self, place: int) -> Item:
        number, within = divmod(place, len(self._clips))
        if number != self._pass:
            digest = hashlib.blake2b(f"{self._seed}/{number}".encode(), digest_size=16).digest()
            generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "big")))
            self._pass, self._order = number, generator.permutation(self._clips)
        return Item(int(self._order[within]), number % self._views)


class EachOnce(Sampler[list[Item]]):
    """Every clip once, in order: rank r takes clips r, r + world_size, ...; the last batch may be short.

    Args:
        clips: number of clips.
        batch_size: clips in a batch.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(self, clips: int, batch_size: int, rank: int, world_size: int) -> None:
        self._clips = range(rank, clips, world_size)
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self._clips) // self._batch_size)

    def __iter__(self) -> Iterator[list[Item]]:
        for begin in range(0, len(self._clips), self._batch_size):
            yield [Item(clip, 0) for clip in self._clips[begin : begin + self._batch_size]]


class EachView(Sampler[list[Item]]):
    """Blocks of clips, each in one view and in order; a batch never holds clips of two blocks.

    Args:
        units: which clips in which view.
        batch_size: clips in a batch; the last of a block may be short.
    """

    def __init__(self, units: Sequence[Unit], batch_size: int) -> None:
        self._units, self._batch_size = units, batch_size

    def __len__(self) -> int:
        return sum(-(-(unit.end - unit.begin) // self._batch_size) for unit in self._units)

    def __iter__(self) -> Iterator[list[Item]]:
        for view, begin, end in self._units:
            for first in range(begin, end, self._batch_size):
                yield [Item(clip, view) for clip in range(first, min(first + self._batch_size, end))]
