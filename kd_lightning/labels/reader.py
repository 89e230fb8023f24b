"""Read what a teacher said of any clips or utterances in any views, from mapped shards."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from kd_lightning.labels.encoding import decode
from kd_lightning.labels.fingerprint import Fingerprint, other
from kd_lightning.labels.format import FORMAT, INDEX, TAP, Stored, Unit, facts
from kd_lightning.labels.ragged import OFFSETS, Column, pick

_AGAIN = "start kd_lightning.label again as before"


class Store:
    """A finished store of labels. Shards stay mapped, and are mapped anew where this is pickled.

    Args:
        folder: of the store.
        index: the content of ``labels.json``.
        expected: what a run reads of it.
    """

    def __init__(self, folder: Path, index: dict[str, Any], expected: Fingerprint) -> None:
        self.folder = folder
        self._block: int = index["block"]
        self._facts: dict[str, dict[str, Any]] = index["shards"]
        self._taps = tuple(expected.taps)
        # numpy picks a few rows three times faster than torch.
        self._mapped: dict[str, dict[str, npt.NDArray[Any]]] = {}

    def rows(self, cuts: Sequence[int], views: Sequence[int]) -> dict[str, Column]:
        """What is stored of each cut in its view, by name; arrays (B, ...), or lists of B of different length.

        Args:
            cuts: (B,) positions in the training selection.
            views: (B,) number of the view of each.

        Raises:
            ValueError: a shard is damaged; names the file.
        """
        blocks, within = np.divmod(np.asarray(cuts), self._block)
        shards: dict[tuple[int, int], list[int]] = {}
        for place, view_and_block in enumerate(zip(views, blocks.tolist(), strict=True)):
            shards.setdefault(view_and_block, []).append(place)
        rows: dict[str, Any] = {}
        for (view, block), places in shards.items():
            shard = self._shard(Unit(view, block * self._block, 0).shard)
            for name in shard:
                if name.startswith(OFFSETS):
                    continue
                picked = pick(shard, name, within[places])
                if isinstance(picked, list):
                    column = rows.setdefault(name, [None] * len(cuts))
                    for place, row in zip(places, picked, strict=True):
                        column[place] = row
                else:
                    if name not in rows:
                        rows[name] = np.empty((len(cuts), *picked.shape[1:]), picked.dtype)
                    rows[name][places] = picked
        return rows

    def _reads(self, name: str) -> bool:
        """Whether the run wants these rows."""
        return not name.startswith(TAP) or name.removeprefix(TAP) in self._taps

    def _shard(self, name: str) -> dict[str, npt.NDArray[Any]]:
        if name not in self._mapped:
            path = self.folder / name
            try:
                # A changed byte would teach something that nobody said.
                if facts(path) != self._facts[name]:
                    raise ValueError("it is not what the index says")
                tensors = load_file(path)
            except (ValueError, OSError, SafetensorError) as error:
                raise ValueError(f"{path} is damaged ({error}): {_AGAIN}, which writes it anew") from error
            self._mapped[name] = {
                key: tensor.numpy()
                for key, tensor in tensors.items()
                if self._reads(key.removeprefix(OFFSETS))
            }
        return self._mapped[name]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": {}}


class StoredLabels(Store):
    """What a teacher said of clips; see :class:`Store`."""

    def __init__(self, folder: Path, index: dict[str, Any], expected: Fingerprint) -> None:
        super().__init__(folder, index, expected)
        self._classes = len(expected.classes)

    def read(self, clips: Sequence[int], views: Sequence[int]) -> Stored:
        """What the teacher said of each clip in its view; see :meth:`Store.rows`."""
        tensors = {name: torch.from_numpy(array) for name, array in self.rows(clips, views).items()}
        taps = {path: tensors[TAP + path].float() for path in self._taps}
        return Stored(decode(tensors, self._classes), taps)


Labels = TypeVar("Labels", bound=Store)


def open_store(
    folder: Path, expected: Fingerprint, kind: Callable[[Path, dict[str, Any], Fingerprint], Labels]
) -> Labels:
    """Open a finished store for a run.

    Args:
        folder: of the store, e.g. ``runs/<name>/label``.
        expected: what the labels have to follow from, and which of them the run needs.
        kind: reads it, see :class:`Store`.

    Raises:
        FileNotFoundError: there are no labels, the store is not finished, or a shard is missing.
        ValueError: a file is damaged, or the labels are of another teacher, corpus, augmentation or the like.
    """
    index = _read_index(folder)
    stored, run = dict(index["fingerprint"]), expected.plain()
    unread = expected.unread(stored)
    if difference := other(
        *({key: each[key] for key in each if key not in unread} for each in (stored, run))
    ):
        raise ValueError(
            f"{folder} holds labels of {difference}: change this run, or label again under another name"
        )
    for name, known in index["shards"].items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {_AGAIN}, which writes it anew")
        if path.stat().st_size != known["bytes"]:
            raise ValueError(
                f"{path} is damaged ({path.stat().st_size} bytes instead of {known['bytes']}): {_AGAIN}, "
                "which writes it anew"
            )
    return kind(folder, index, expected)


def open_labels(folder: Path, expected: Fingerprint) -> StoredLabels:
    """Open a finished store of what a teacher said of clips; see :func:`open_store`."""
    return open_store(folder, expected, StoredLabels)


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        if any(folder.glob("view_*/*.safetensors")):
            raise FileNotFoundError(f"the labels in {folder} are not finished: {_AGAIN}, which goes on")
        raise FileNotFoundError(
            f"{folder} holds no labels: python -m kd_lightning.label teacher.run=<folder of a finished run>"
        )
    try:
        index = dict(json.loads(path.read_text()))
        found = index["format"], index["fingerprint"]["taps"], index["shards"].items(), index["block"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}): {_AGAIN}, which writes it anew") from error
    if found[0] != FORMAT:
        raise ValueError(f"{path} has the format {found[0]} and {FORMAT} is read here: label again")
    return index
