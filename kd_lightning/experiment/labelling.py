"""Config -> corpus, teacher and Trainer that write the labels of a pipeline."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from kd_lightning.callbacks.progress import StageProgress
from kd_lightning.distillers.hypotheses import HypothesisListener
from kd_lightning.distillers.reading import read_aloud
from kd_lightning.distillers.same_mel import require_same_mel
from kd_lightning.distillers.shared_tokens import require_shared_tokens
from kd_lightning.experiment.build import build_corpus, build_teacher, learns_from_teacher
from kd_lightning.experiment.finished import listening
from kd_lightning.experiment.process import prepare_process
from kd_lightning.experiment.stored_labels import fingerprint_of
from kd_lightning.experiment.targets import build
from kd_lightning.experiment.tokens import teacher_pieces
from kd_lightning.labels.clip_labeller import ClipLabeller
from kd_lightning.labels.format import Unit
from kd_lightning.labels.labeller import Labeller
from kd_lightning.labels.sentence_labeller import SentenceLabeller
from kd_lightning.labels.speech_audio import write_audio
from kd_lightning.labels.speech_reader import open_speech_labels
from kd_lightning.labels.utterance_labeller import UtteranceLabeller
from kd_lightning.labels.writer import LabelWriter
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.griffin_lim import GriffinLim
from kd_lightning.models.recogniser import Recogniser


class Labelling(NamedTuple):
    """What writes the labels of a corpus: ``trainer.predict(labeller)``, then ``writer.finish()``, then ``hear()``."""

    trainer: pl.Trainer
    labeller: Labeller
    writer: LabelWriter
    hear: Callable[[], None]


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
    return Labelling(trainer, labeller, writer, _hear(config, datamodule, labeller))


def _clip_labeller(config: dict[str, Any], datamodule: Any, writer: LabelWriter) -> Labeller:
    teacher = build_teacher(config, datamodule)
    assert teacher is not None
    return ClipLabeller(teacher.eval(), writer, datamodule.views_dataloader)


def _utterance_labeller(config: dict[str, Any], datamodule: Any, writer: LabelWriter) -> Labeller:
    teacher = build_teacher(config, datamodule)
    if not isinstance(teacher, Recogniser):
        raise ValueError(
            "labels of utterances are of a recogniser: set teacher.run=<folder of its finished run>"
        )
    pieces = teacher_pieces(config, teacher, datamodule)
    require_shared_tokens(build(config["transfer"]["terms"]).values(), datamodule.classes, pieces)
    listener = None
    if writer.fingerprint.decoding is not None:
        listener = HypothesisListener(teacher, pieces, datamodule.language, **config["labels"]["decoding"])
    return UtteranceLabeller(
        teacher.eval(), writer, datamodule.views_dataloader, datamodule.view_ids, listener
    )


def _sentence_labeller(config: dict[str, Any], datamodule: Any, writer: LabelWriter) -> Labeller:
    teacher = build_teacher(config, datamodule)
    if not isinstance(teacher, AcousticModel):
        raise ValueError("labels of sentences are of an acoustic network: set teacher.run=<its finished run>")
    return SentenceLabeller(
        teacher.eval(), writer, datamodule.views_dataloader, datamodule.view_ids, read_aloud
    )


def _hear(config: dict[str, Any], datamodule: Any, labeller: Labeller) -> Callable[[], None]:
    """What writes audio of the first ``labels.audio`` sentences: of the text that nobody recorded, if there is any.

    Raises:
        ValueError: labels of this task are nothing to hear, or the vocoder speaks other mels.
    """
    count = config["labels"]["audio"]
    if not count:
        return _nothing
    if not isinstance(labeller, SentenceLabeller) or count < 0:
        raise ValueError(
            f"labels.audio={count}: so many sentences of a teacher of task=synthesis; set it to 0"
        )
    frontend = labeller.teacher.frontend
    vocoder = listening(config | {"recogniser": None}).get("vocoder")
    require_same_mel(labeller.teacher, vocoder, "vocoder")
    first = datamodule.train_size - (datamodule.unrecorded_size or datamodule.train_size)
    last = min(first + count, datamodule.train_size)

    def hear() -> None:
        folder, fingerprint = labeller.writer.folder, labeller.writer.fingerprint
        ids = datamodule.view_ids(Unit(0, first, last))
        cuts = zip(range(first, last), ids, strict=True)
        labels = open_speech_labels(folder, fingerprint)
        write_audio(folder, labels, cuts, vocoder or GriffinLim(frontend), frontend.sample_rate)

    return hear


def _nothing() -> None:
    pass


def _no_labeller(config: dict[str, Any], datamodule: Any, writer: LabelWriter) -> Labeller:
    raise ValueError(
        "a vocoder speaks faster than its words could be read back: set teacher.stored=false, and it teaches live"
    )


_LABELLERS = {
    "keyword": _clip_labeller,
    "recognition": _utterance_labeller,
    "synthesis": _sentence_labeller,
    "vocoding": _no_labeller,
}
