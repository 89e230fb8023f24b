"""Write what a teacher says, shard by shard; a killed run goes on with the shards that are missing."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from kd_lightning.files import write
from kd_lightning.labels.encoding import encode
from kd_lightning.labels.fingerprint import Fingerprint, other
from kd_lightning.labels.format import (
    BLOCK,
    FINGERPRINT,
    FORMAT,
    INDEX,
    TAP,
    Unit,
    facts,
    shard_fingerprint,
    units,
)
from kd_lightning.labels.hypotheses import TEXT, as_lines, sentences
from kd_lightning.labels.ragged import Rows, joined

DTYPES = {"float16": torch.float16, "float32": torch.float32}


class LabelWriter:
    """Writes a store of labels; several ranks may write different shards of it at once.

    Args:
        folder: of the store.
        fingerprint: what the labels follow from.

    Raises:
        ValueError: a setting of ``labels`` is not possible.
    """

    def __init__(self, folder: Path, fingerprint: Fingerprint) -> None:
        classes, top_k = len(fingerprint.classes), fingerprint.top_k
        if fingerprint.views < 1:
            raise ValueError(f"labels.views={fingerprint.views}: label one view or more")
        if fingerprint.dtype not in DTYPES:
            raise ValueError(f"labels.dtype={fingerprint.dtype}: there are {', '.join(DTYPES)}")
        if top_k is not None and not 1 <= top_k < classes:
            raise ValueError(
                f"labels.top_k={top_k} of {classes} classes: keep fewer than there are, or null to store all logits"
            )
        self.folder = folder
        self.fingerprint = fingerprint
        self.dtype = DTYPES[fingerprint.dtype]

    @property
    def is_finished(self) -> bool:
        """Whether every shard is there, as the index has it."""
        return (self.folder / INDEX).is_file() and not self.pending()

    def pending(self) -> list[Unit]:
        """What is still to be written: missing and damaged shards.

        Raises:
            FileExistsError: the folder holds labels of another teacher, corpus or the like.
        """
        known = self._index()
        return [unit for unit in self._units() if not self._is_whole(unit.shard, known)]

    def encode(self, logits: Tensor, taps: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is stored of logits (B, C) and activations (B, ...), by name."""
        named = {f"{TAP}{path}": tap.to(self.dtype) for path, tap in taps.items()}
        return encode(logits, self.fingerprint.top_k, self.dtype) | named

    def write(self, unit: Unit, rows: Rows, cuts: Sequence[str] = ()) -> None:
        """Write a whole shard or nothing.

        Args:
            unit: which.
            rows: one a clip or utterance, of which :meth:`encode` made the logits and activations.
            cuts: their ids, where there are hypotheses among the rows.

        Raises:
            OSError: it could not be written; names the file.
        """
        # One entry only: the order of several would not be the same every time.
        metadata = {FINGERPRINT: json.dumps(self.fingerprint.plain(), sort_keys=True)}
        on_host = {name: tensor.cpu().contiguous() for name, tensor in joined(rows).items()}
        if TEXT in rows:
            write(self.folder / unit.hypotheses, as_lines(cuts, sentences(rows)))
        write(self.folder / unit.shard, save(on_host, metadata))

    def finish(self) -> None:
        """Write the index when all ranks have written their shards."""
        index = {
            "format": FORMAT,
            "fingerprint": self.fingerprint.plain(),
            "block": BLOCK,
            "shards": {unit.shard: facts(self.folder / unit.shard) for unit in self._units()},
        }
        write(self.folder / INDEX, json.dumps(index, indent=1) + "\n")

    def _units(self) -> list[Unit]:
        return list(units(self.fingerprint.clips, self.fingerprint.views))

    def _index(self) -> dict[str, dict[str, object]]:
        """Facts of the shards by name, if they were all written before and the index can be read."""
        try:
            return dict(json.loads((self.folder / INDEX).read_text())["shards"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _is_whole(self, shard: str, known: dict[str, dict[str, object]]) -> bool:
        path = self.folder / shard
        if not path.is_file():
            return False
        found = shard_fingerprint(path)
        if found is None:
            return False
        if difference := other(found, self.fingerprint.plain()):
            raise FileExistsError(
                f"{self.folder} holds labels of {difference}: set name=<another name>, or remove that folder"
            )
        return shard not in known or known[shard] == facts(path)
