"""Stored labels of a config: what they follow from, where a run finds them, and what writes them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from torch import nn

from kd_lightning.callbacks.progress import StageProgress
from kd_lightning.experiment.build import build_corpus, build_teacher
from kd_lightning.experiment.finished import fingerprints, finished_config
from kd_lightning.experiment.process import prepare_process
from kd_lightning.experiment.targets import build
from kd_lightning.labels.fingerprint import Fingerprint
from kd_lightning.labels.labeller import Labeller
from kd_lightning.labels.reader import StoredLabels, open_labels
from kd_lightning.labels.writer import LabelWriter


class Labelling(NamedTuple):
    """What writes the labels of a corpus: ``trainer.predict(labeller)``, then ``writer.finish()``."""

    trainer: pl.Trainer
    labeller: Labeller
    writer: LabelWriter


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


def build_labelling(config: dict[str, Any], folder: Path) -> Labelling:
    """Corpus, teacher, writer and a Trainer that shares the work between its ranks.

    Args:
        config: of the stage that will learn from the labels.
        folder: of the store.

    Raises:
        ValueError, FileNotFoundError: what in the config, the corpus or the teacher does not fit, and what to do.
    """
    prepare_process(config["trainer"])
    warnings.filterwarnings("ignore", message=".*a custom batch sampler .* for prediction.*")
    datamodule = build_corpus(config)
    teacher = build_teacher(config, datamodule)
    if teacher is None:
        raise ValueError(
            "labels are of a teacher: set teacher.run=<folder of a finished run> and a transfer recipe"
        )
    writer = LabelWriter(folder, fingerprint_of(config, datamodule))
    labeller = Labeller(teacher.eval(), writer, datamodule.views_dataloader)
    trainer = pl.Trainer(
        # Labels are for runs of any precision.
        **config["trainer"] | {"precision": "32-true"},
        default_root_dir=folder,
        logger=False,
        callbacks=[StageProgress()] if config["trainer"]["enable_progress_bar"] else [],
        enable_checkpointing=False,
        use_distributed_sampler=False,
        plugins=[SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else None,
    )
    return Labelling(trainer, labeller, writer)


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
