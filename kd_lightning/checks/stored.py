"""Stored labels: whether a store answers for the cuts of a run, and how much of what it says is learnt."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from kd_lightning.checks.costs import in_bytes, in_time
from kd_lightning.checks.finding import Finding, ok, warning
from kd_lightning.experiment.build import learns_from_teacher

# Batches whose hypotheses are looked at.
BATCHES = 4
# Below this share of trusted hypotheses little is learnt of them.
FEW_TRUSTED = 0.5


def asks_store(config: dict[str, Any]) -> bool:
    """Whether a stage learns from stored labels."""
    return bool(learns_from_teacher(config) and (config["teacher"] or {}).get("stored"))


def stored_labels(config: dict[str, Any], datamodule: Any) -> Iterator[Finding]:
    """What of the training views a store answers. One of another teacher or the like was refused before.

    Args:
        config: of the stage, as the pipeline has it.
        datamodule: set up, with the labels if there are any.
    """
    if not asks_store(config):
        return
    batches = list(islice(datamodule.train_dataloader(), BATCHES))
    answered = [batch.stored for batch in batches if batch.stored is not None]
    if not answered:
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


class Store(NamedTuple):
    """What a store of labels that is not there yet will take.

    Attributes:
        asked: cuts times views.
        bytes: on the disk, about.
    """

    asked: int
    bytes: int


def store_to_write(config: dict[str, Any], datamodule: Any, step: Any, cuts: int) -> Store | None:
    """What asking the teacher once will take; ``None`` where nobody does, or has done.

    Args:
        config: of the stage.
        datamodule: set up.
        step: of a dry step with the teacher.
        cuts: in it.
    """
    said = getattr(step, "teacher", None)
    mels = getattr(getattr(step, "target", None), "mel", None)
    if not asks_store(config) or (said is None and mels is None) or is_answered(datamodule):
        return None
    labels, asked = config["labels"], datamodule.train_size * config["corpus"]["views"]
    scores = getattr(said, "logits", None)
    numbers = sum(tap.numel() for tap in getattr(step, "teacher_taps", {}).values())
    numbers += 0 if mels is None else mels.numel()
    if scores is not None:  # of each of the k largest a number and its place
        numbers += scores.numel() * (2 * labels["top_k"] / scores.shape[-1] if labels["top_k"] else 1)
    size = numbers / cuts * asked * (2 if labels["dtype"] == "float16" else 4)
    return Store(asked, int(size))


def is_answered(datamodule: Any) -> bool:
    """Whether batches bring what a teacher said."""
    return next(iter(datamodule.train_dataloader())).stored is not None


def of_store(store: Store, seconds: float) -> Finding:
    """What will be written before distill.

    Args:
        store: that is not there yet.
        seconds: for a cut, of a step that asks the teacher.
    """
    return ok(
        "stored labels",
        f"none yet: the pipeline asks the teacher once, {store.asked:,} cuts in at most "
        f"{in_time(store.asked * seconds)}, {in_bytes(store.bytes)}; here it was asked in each step, so distill "
        "will take less than is said below",
    )
