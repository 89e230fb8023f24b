"""The files of a store of labels.

- ``view_000/block_0000.safetensors``: what the teacher says of BLOCK clips or utterances in one view, one row each in
  the order of the training selection, rows of different length as in :mod:`kd_lightning.labels.ragged`; its metadata
  holds the fingerprint
- ``view_000/hypotheses_0000.jsonl``: the hypotheses in that shard once more, for people
- ``audio/<cut>.flac``: some of the sentences that a teacher of synthesis said, for people
- ``labels.json``: fingerprint, and size and digest of every shard; written last, so a store that has it is finished
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor, device

INDEX = "labels.json"
FORMAT = 1
# Clips in a shard. A killed run loses what it has of one shard a rank.
BLOCK = 2048
TAP = "taps/"
LENGTHS = "lengths"
FINGERPRINT = "fingerprint"


class Stored(NamedTuple):
    """What a teacher said of a batch of clips.

    Attributes:
        logits: (B, C) float32.
        taps: activations (B, ...) float32 by module path.
    """

    logits: Tensor
    taps: dict[str, Tensor]

    def to(self, where: device, non_blocking: bool = False) -> "Stored":
        """The same on a device."""
        return Stored(
            self.logits.to(where, non_blocking=non_blocking),
            {path: tap.to(where, non_blocking=non_blocking) for path, tap in self.taps.items()},
        )


class Unit(NamedTuple):
    """One shard's worth of work: the clips from ``begin`` to before ``end`` in view ``view``."""

    view: int
    begin: int
    end: int

    @property
    def shard(self) -> str:
        """The shard's path in the store."""
        return f"view_{self.view:03d}/block_{self.begin // BLOCK:04d}.safetensors"

    @property
    def hypotheses(self) -> str:
        """The path of its hypotheses as lines."""
        return f"view_{self.view:03d}/hypotheses_{self.begin // BLOCK:04d}.jsonl"


def units(clips: int, views: int) -> Iterator[Unit]:
    """All the work on a corpus, view after view."""
    for view in range(views):
        for begin in range(0, clips, BLOCK):
            yield Unit(view, begin, min(begin + BLOCK, clips))


def shard_fingerprint(path: Path) -> dict[str, Any] | None:
    """The fingerprint in a shard's metadata; ``None`` if the shard is damaged."""
    try:
        with safe_open(path, framework="pt") as shard:
            return dict(json.loads(shard.metadata()[FINGERPRINT]))
    except (SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None


def facts(path: Path) -> dict[str, Any]:
    """Size in bytes and digest of a shard, as the index has them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return {"bytes": path.stat().st_size, "digest": digest}
