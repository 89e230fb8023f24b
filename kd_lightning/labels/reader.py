"""Read what a teacher said of any clips in any views, from mapped shards."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from kd_lightning.labels.encoding import decode
from kd_lightning.labels.fingerprint import Fingerprint, other
from kd_lightning.labels.format import FORMAT, INDEX, TAP, Stored, Unit, facts

_AGAIN = "start kd_lightning.label again as before"


class StoredLabels:
    """A finished store of labels. Shards stay mapped, and are mapped anew where this is pickled.

    Args:
        folder: of the store.
        index: the content of ``labels.json``.
        taps: module paths whose activations to read.
    """

    def __init__(self, folder: Path, index: dict[str, Any], taps: Sequence[str] = ()) -> None:
        self.folder = folder
        self._classes = len(index["fingerprint"]["classes"])
        self._block: int = index["block"]
        self._facts: dict[str, dict[str, Any]] = index["shards"]
        self._taps = tuple(taps)
        # numpy picks a few rows three times faster than torch.
        self._mapped: dict[str, dict[str, npt.NDArray[Any]]] = {}

    def read(self, clips: Sequence[int], views: Sequence[int]) -> Stored:
        """What the teacher said of each clip in its view.

        Args:
            clips: (B,) positions in the training selection.
            views: (B,) number of the view of each.

        Raises:
            ValueError: a shard is damaged; names the file.
        """
        blocks, within = np.divmod(np.asarray(clips), self._block)
        shards: dict[tuple[int, int], list[int]] = {}
        for place, view_and_block in enumerate(zip(views, blocks.tolist(), strict=True)):
            shards.setdefault(view_and_block, []).append(place)
        rows: dict[str, npt.NDArray[Any]] = {}
        for (view, block), places in shards.items():
            for name, stored in self._shard(Unit(view, block * self._block, 0).shard).items():
                if name not in rows:
                    rows[name] = np.empty((len(clips), *stored.shape[1:]), stored.dtype)
                rows[name][places] = stored[within[places]]
        tensors = {name: torch.from_numpy(array) for name, array in rows.items()}
        taps = {path: tensors[TAP + path].float() for path in self._taps}
        return Stored(decode(tensors, self._classes), taps)

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
            wanted = {TAP + path for path in self._taps}
            self._mapped[name] = {
                key: tensor.numpy()
                for key, tensor in tensors.items()
                if not key.startswith(TAP) or key in wanted
            }
        return self._mapped[name]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": {}}


def open_labels(folder: Path, expected: Fingerprint) -> StoredLabels:
    """Open a finished store for a run.

    Args:
        folder: of the store, e.g. ``runs/<name>/label``.
        expected: what the labels have to follow from; of the activations, those that the run needs.

    Raises:
        FileNotFoundError: there are no labels, the store is not finished, or a shard is missing.
        ValueError: a file is damaged, or the labels are of another teacher, corpus, augmentation or the like.
    """
    index = _read_index(folder)
    stored, run = dict(index["fingerprint"]), expected.plain()
    missing = [path for path in expected.taps if path not in stored["taps"]]
    # More activations than a run needs do no harm.
    difference = other(stored, run | {"taps": stored["taps"]} if not missing else run)
    if difference:
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
    return StoredLabels(folder, index, expected.taps)


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
