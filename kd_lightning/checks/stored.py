"""Stored labels: whether a store answers for the cuts of a run, and how much of what it says is learnt."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from kd_lightning.checks.finding import Finding, ok, warning
from kd_lightning.experiment.build import learns_from_teacher

# Batches whose hypotheses are looked at.
BATCHES = 4
# Below this share of trusted hypotheses little is learnt of them.
FEW_TRUSTED = 0.5


def stored_labels(config: dict[str, Any], datamodule: Any) -> Iterator[Finding]:
    """What of the training views a store answers. One of another teacher or the like was refused before.

    Args:
        config: of the stage, as the pipeline has it.
        datamodule: set up, with the labels if there are any.
    """
    asked = (config["teacher"] or {}).get("stored") if learns_from_teacher(config) else None
    if not asked:
        return
    batches = list(islice(datamodule.train_dataloader(), BATCHES))
    answered = [batch.stored for batch in batches if batch.stored is not None]
    if not answered:
        yield ok(
            "stored labels",
            "none yet: the pipeline asks the teacher once, before distill; here it was asked in each step, which takes "
            "longer",
        )
        return
    cuts, views = datamodule.train_size, config["corpus"]["views"]
    yield ok(
        "stored labels",
        f"{len(answered)} of {len(batches)} batches are answered; the store's fingerprint is that of this run, so all "
        f"{cuts:,} cuts are, in {views} views",
    )
    heard = [one.heard.trusted for one in answered if getattr(one, "heard", None) is not None]
    if heard:
        share = sum(int(one.sum()) for one in heard) / max(1, sum(len(one) for one in heard))
        said = f"{share:.0%} of its hypotheses are learnt, in {len(heard)} batches"
        if share < FEW_TRUSTED:
            yield warning("stored labels", f"{said}: raise labels.max_wer, or train the teacher longer")
        else:
            yield ok("stored labels", said)
