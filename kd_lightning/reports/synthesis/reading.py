"""How a network that has to find its own way through a sentence reads it: to the end, leaving nothing out, once."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kd_lightning.reports.aligned import Aligned
from kd_lightning.reports.formats import count

# A sentence has the fault where its measure is above 0; ``ended`` is 1 where a decoder stopped by itself.
_FAULTS = {"skipped": "leaves something out", "repeated": "goes back", "unfinished": "finds no end"}


def faults(aligned: Aligned) -> list[dict[str, Any]]:
    """How many sentences each stage reads with a fault; stages of which nothing is known are left out."""
    rows = []
    for stage, measured in aligned.measured.items():
        known = dict(measured)
        if "ended" in known:
            known["unfinished"] = 1 - known["ended"]
        found = {key: int(np.sum(known[key] > 0)) for key in _FAULTS if key in known}
        if found:
            rows.append({"stage": stage, "sentences": len(aligned.cuts), **found})
    return rows


def said(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A sentence a stage."""
    return [
        f"{row['stage']}: of {count(row['sentences'])} sentences it "
        + ", ".join(f"{words} in {count(row[key])}" for key, words in _FAULTS.items() if key in row)
        + "."
        for row in rows
    ]
