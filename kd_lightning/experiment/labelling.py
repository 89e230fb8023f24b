"""Config -> corpus, teacher and Trainer that write the labels of a pipeline."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from kd_lightning.callbacks.progress import StageProgress
from kd_lightning.experiment.build import build_corpus, build_teacher
from kd_lightning.experiment.process import prepare_process
from kd_lightning.experiment.stored_labels import fingerprint_of
from kd_lightning.labels.labeller import Labeller
from kd_lightning.labels.writer import LabelWriter


class Labelling(NamedTuple):
    """What writes the labels of a corpus: ``trainer.predict(labeller)``, then ``writer.finish()``."""

    trainer: pl.Trainer
    labeller: Labeller
    writer: LabelWriter


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
