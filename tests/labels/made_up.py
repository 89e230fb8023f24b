"""Made-up labels: three shards a view."""

from typing import Any

import torch
from torch import Tensor

from kd_lightning.labels.fingerprint import Fingerprint
from kd_lightning.labels.format import BLOCK
from kd_lightning.labels.writer import LabelWriter

CLIPS, VIEWS, CLASSES = 2 * BLOCK + 100, 3, ["yes", "no", "stop", "tree", "go"]
FIELDS: dict[str, Any] = {
    "teacher": "0a1b",
    "frontend": {"frontend": "MFCC", "bins": 40},
    "corpus": "2c3d",
    "clips": CLIPS,
    "classes": CLASSES,
    "augment": {"seed": 0, "snr": [5.0, 25.0]},
    "views": VIEWS,
    "dtype": "float16",
    "top_k": None,
    "taps": [],
}


def fingerprint(**changes: Any) -> Fingerprint:
    return Fingerprint(**FIELDS | changes)


def said(paths: list[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits (views, clips, classes) and activations (views, clips, 4, 2)."""
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(VIEWS, CLIPS, len(CLASSES), generator=generator)
    return logits, {path: torch.randn(VIEWS, CLIPS, 4, 2, generator=generator) for path in paths}


def write_some(writer: LabelWriter, most: int = 1000) -> None:
    """Write up to so many of the shards that are missing."""
    logits, taps = said(writer.fingerprint.taps)
    for unit in writer.pending()[:most]:
        view, rows = unit.view, slice(unit.begin, unit.end)
        tapped = {path: tap[view, rows] for path, tap in taps.items()}
        writer.write(unit, writer.encode(logits[view, rows], tapped))


def write_all(writer: LabelWriter) -> None:
    """Write all shards that are missing, and the index."""
    write_some(writer)
    writer.finish()
