"""Config -> corpus, teacher and Trainer that write the labels of a pipeline."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from kd_lightning.callbacks.progress import StageProgress
from kd_lightning.distillers.hypotheses import HypothesisListener
from kd_lightning.experiment.build import build_corpus, build_teacher, learns_from_teacher
from kd_lightning.experiment.finished import finished_model
from kd_lightning.experiment.process import prepare_process
from kd_lightning.experiment.stored_labels import fingerprint_of
from kd_lightning.labels.clip_labeller import ClipLabeller
from kd_lightning.labels.labeller import Labeller
from kd_lightning.labels.utterance_labeller import UtteranceLabeller
from kd_lightning.labels.writer import LabelWriter
from kd_lightning.models.recogniser import Recogniser


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
    if config["teacher"] is None or not learns_from_teacher(config):
        raise ValueError(
            "labels are of a teacher: set teacher.run=<folder of a finished run> and a transfer recipe"
        )
    writer = LabelWriter(folder, fingerprint_of(config, datamodule))
    labeller = _LABELLERS[config["task"]](config, datamodule, writer)
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


def _clip_labeller(config: dict[str, Any], datamodule: Any, writer: LabelWriter) -> Labeller:
    teacher = build_teacher(config, datamodule)
    assert teacher is not None
    return ClipLabeller(teacher.eval(), writer, datamodule.views_dataloader)


def _utterance_labeller(config: dict[str, Any], datamodule: Any, writer: LabelWriter) -> Labeller:
    teacher, pieces = _recogniser(config, datamodule)
    if writer.fingerprint.logits and pieces != datamodule.classes:
        lacks = sorted(set(datamodule.classes) - set(pieces))
        extra = sorted(set(pieces) - set(datamodule.classes))
        raise ValueError(
            "a transfer term reads what the teacher says of frames, and its tokens are not those of the corpus: it "
            f"lacks {lacks or 'none'} and has {extra or 'none'} besides; take transfer=sequence, which learns from the "
            "teacher's text, or a teacher with the tokens of this corpus"
        )
    listener = None
    if writer.fingerprint.decoding is not None:
        listener = HypothesisListener(teacher, pieces, datamodule.language, **config["labels"]["decoding"])
    return UtteranceLabeller(
        teacher.eval(), writer, datamodule.views_dataloader, datamodule.view_ids, listener
    )


def _recogniser(config: dict[str, Any], datamodule: Any) -> tuple[Recogniser, list[str]]:
    """The teacher and its tokens, which may be those of another corpus.

    Raises:
        ValueError: it is several networks, another task's, or of another sample rate.
    """
    run = config["teacher"].get("run")
    if isinstance(run, list):
        raise ValueError(
            "teacher.run: several recognisers hear several sentences, so one of them has to label"
        )
    if run:
        teacher, finished = finished_model(Path(run))
        pieces: list[str] = finished["classes"]
    else:
        built = build_teacher(config, datamodule)
        assert isinstance(built, Recogniser)
        teacher, pieces = built, getattr(built.network, "pieces", datamodule.classes)
    if not isinstance(teacher, Recogniser):
        raise ValueError(
            f"{run} is no recogniser: set teacher.run=<folder of a finished run that hears utterances>"
        )
    if teacher.frontend.sample_rate != datamodule.sample_rate:
        raise ValueError(
            f"{run} hears {teacher.frontend.sample_rate} Hz and the corpus has {datamodule.sample_rate} Hz"
        )
    return teacher, pieces


_LABELLERS = {"keyword": _clip_labeller, "recognition": _utterance_labeller}
