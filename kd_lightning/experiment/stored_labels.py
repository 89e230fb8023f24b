"""Stored labels of a config: what they have to follow from, and where a run finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from kd_lightning.experiment.finished import fingerprints, finished_config
from kd_lightning.experiment.targets import build
from kd_lightning.labels.fingerprint import Fingerprint
from kd_lightning.labels.reader import StoredLabels, open_labels


def fingerprint_of(config: dict[str, Any], datamodule: Any) -> Fingerprint:
    """What the labels of a stage have to follow from; the teacher is not built for it.

    Args:
        config: of the stage, with its teacher.
        datamodule: prepared and set up.
    """
    node = config["teacher"]
    nodes = [node] if node.get("checkpoint") else [finished_config(run)["student"] for run in _runs(node)]
    frontends = [build(each["frontend"], nn.Module).settings for each in nodes]
    terms = (config["transfer"] or {}).get("terms") or {}
    return Fingerprint(
        teacher=fingerprints(node),
        frontend=frontends[0] if len(frontends) == 1 else frontends,
        **datamodule.view_facts(),
        dtype=config["labels"]["dtype"],
        top_k=config["labels"]["top_k"],
        taps=sorted({path for term in build(terms).values() for path in term.teacher_paths}),
    )


def open_stored(config: dict[str, Any], datamodule: Any) -> StoredLabels:
    """The labels that ``teacher.stored`` names: a folder, or with ``true`` that of the pipeline.

    Raises:
        FileNotFoundError, ValueError: there are none, they are damaged, or they are of another teacher or the like.
    """
    stored = config["teacher"]["stored"]
    folder = Path(config["folder"]).parent / "label" if stored is True else Path(stored)
    return open_labels(folder, fingerprint_of(config, datamodule))


def _runs(node: dict[str, Any]) -> list[Path]:
    """The finished runs that teach.

    Raises:
        ValueError: there are none.
    """
    run = node.get("run")
    if not run:
        raise ValueError(
            "stored labels are of a finished teacher: set teacher.run=<folder of a finished run> or teacher.checkpoint"
        )
    return [Path(each) for each in (run if isinstance(run, list) else [run])]
