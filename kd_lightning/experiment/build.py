"""Config of one stage -> DataModule, student, teacher, distiller, Trainer, in the order that keeps runs comparable.

The corpus comes first, because classes and mel settings follow from it. The student is made under a seed of its own, so
that baseline and distill start from the same weights: building a teacher first would change them. Projectors come last,
sized by one dry batch.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger, WandbLogger

from kd_lightning.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from kd_lightning.callbacks.curves import Curves, CutCurves
from kd_lightning.callbacks.non_finite import NonFiniteGuard
from kd_lightning.callbacks.step_seed import StepSeed
from kd_lightning.callbacks.stop_at import StopAt
from kd_lightning.distillers.distiller import Distiller
from kd_lightning.experiment.compose import with_keys
from kd_lightning.experiment.process import prepare_process
from kd_lightning.experiment.targets import build
from kd_lightning.models.waveform_model import WaveformModel
from kd_lightning.teachers.finished_run import check_compatible, load_weights


class Experiment(NamedTuple):
    """One stage, ready to fit.

    Attributes:
        datamodule: the corpus, prepared and set up.
        distiller: student, teacher and terms.
        trainer: Lightning's, with the run's callbacks and loggers.
        best: the callback that knows the best validation score.
        timer: the callback that counts training time over restarts.
        notes: lines for the report.
    """

    datamodule: Any
    distiller: Distiller
    trainer: pl.Trainer
    best: BestCheckpoint
    timer: pl.callbacks.Timer
    notes: list[str]


def build_experiment(config: dict[str, Any], folder: Path) -> Experiment:
    """Build everything that one stage needs.

    Args:
        config: from :func:`~kd_lightning.experiment.compose.stage_config`.
        folder: the run's folder.

    Raises:
        ValueError, FileNotFoundError: what in the config, the corpus or a named run does not fit, and what to do.
    """
    prepare_process(config["trainer"])
    datamodule = build_corpus(config)
    student = build_student(config, len(datamodule.classes))
    teacher = build_teacher(config, datamodule)
    notes = []
    if teacher is not None and config["student"]["copy"]:
        copied = build(config["student"]["copy"])(student.network, teacher.network)
        notes.append(f"the student's start: {copied.summary}")
    transfer = config["transfer"] or {"terms": {}, "weights": {}}
    distiller: Distiller = build(
        config["distiller"]
        | {
            "terms": config["distiller"]["terms"] | (transfer["terms"] or {}),
            "weights": config["distiller"]["weights"] | (transfer["weights"] or {}),
        },
        classes=datamodule.classes,
        student=student,
        teacher=teacher if learns_from_teacher(config) else None,
        optimizer=build(config["optimizer"]),
        scheduler=build(config["scheduler"]),
    )
    if any(term.student_path for term in distiller.terms.values()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config["seed"])
            distiller.size_terms(next(iter(datamodule.train_dataloader())))
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    best = BestCheckpoint(str(checkpoints), config["monitor"])
    timer = pl.callbacks.Timer(verbose=False)
    callbacks = [
        CutCurves(str(folder)),
        StepSeed(config["seed"]),
        NonFiniteGuard(str(folder)),
        timer,
        best,
        LastCheckpoint(str(checkpoints), config["save_every_steps"]),
        *build(list((config["callbacks"] or {}).values())),
    ]
    if config["stop_at"] is not None:
        callbacks.insert(-1, StopAt(**config["stop_at"]))
    trainer = pl.Trainer(
        **config["trainer"],
        default_root_dir=folder,
        logger=[Curves(str(folder)), *build_loggers(config, folder)],
        callbacks=callbacks,
        enable_checkpointing=True,
        # The weights that a stage starts from are candidates for the best ones.
        num_sanity_val_steps=-1,
        log_every_n_steps=1,
        use_distributed_sampler=False,
    )
    return Experiment(datamodule, distiller, trainer, best, timer, notes)


def build_corpus(config: dict[str, Any]) -> Any:
    """The DataModule, prepared and set up. Unlabelled cuts are drawn only where a transfer term can use them."""
    datamodule = build(config["corpus"], unlabelled=learns_from_teacher(config))
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def build_student(config: dict[str, Any], classes: int) -> WaveformModel:
    """The student under a seed of its own, or with the weights of a finished run."""
    node = config["student"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])
        student = build_model(node, classes)
    if node["run"] is not None:
        load_weights(student, Path(node["run"]))
    return student


def build_model(node: dict[str, Any], classes: int) -> WaveformModel:
    """A network with its frontend, sized by what the corpus says."""
    frontend = build(node["frontend"])
    return WaveformModel(frontend, build(node["network"], bins=frontend.bins, classes=classes))


def build_teacher(config: dict[str, Any], datamodule: Any) -> WaveformModel | None:
    """The finished run that teaches; ``None`` where nobody asks it."""
    if config["teacher"] is None or not (learns_from_teacher(config) or config["student"]["copy"]):
        return None
    run = config["teacher"]["run"]
    if run is None:
        raise ValueError(
            "this stage learns from a teacher: set teacher.run=<folder of a finished run>, or transfer=none"
        )
    teacher, finished = finished_model(Path(run))
    check_compatible(
        Path(run),
        finished["classes"],
        datamodule.classes,
        teacher.frontend.sample_rate,
        datamodule.sample_rate,
    )
    return teacher


def learns_from_teacher(config: dict[str, Any]) -> bool:
    """Whether any transfer term will listen to the teacher."""
    return bool(config["transfer"] and config["transfer"]["terms"])


def finished_config(run: Path) -> dict[str, Any]:
    """The config that a finished run left behind.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: its config is not one of ours.
    """
    path = run / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{run} is not a run: it has no config.json; name a folder such as runs/<name>/<stage>"
        )
    try:
        config = json.loads(path.read_text())
        json.dumps([config["student"]["network"], config["student"]["frontend"], config["classes"]])
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged or not a finished run's config ({error!r})") from error
    return dict(config)


def finished_model(run: Path) -> tuple[WaveformModel, dict[str, Any]]:
    """A finished run's network with its weights, and its config."""
    config = finished_config(run)
    model = build_model(config["student"], len(config["classes"]))
    load_weights(model, run)
    return model, config


class Evaluation(NamedTuple):
    """A finished run's network beside a corpus to score it on.

    Attributes:
        config: the run's, with the further words merged over it.
        model: the network with its weights, in eval mode.
        classes: names of the classes, in the order of the logits.
        datamodule: prepared and set up.
    """

    config: dict[str, Any]
    model: WaveformModel
    classes: list[str]
    datamodule: Any


def build_evaluation(run: Path, words: dict[str, Any]) -> Evaluation:
    """A finished run and the corpus to score it on.

    Args:
        run: the finished run's folder.
        words: what to change in its config, e.g. ``{"corpus": {"root": "/other/data"}}``.

    Raises:
        ValueError: the corpus has other classes than the network.
    """
    model, finished = finished_model(run)
    config = with_keys(finished, words) | {"transfer": None}
    datamodule = build_corpus(config)
    datamodule.setup("test")
    check_compatible(
        run, finished["classes"], datamodule.classes, model.frontend.sample_rate, datamodule.sample_rate
    )
    return Evaluation(config, model.eval(), finished["classes"], datamodule)


def build_scorer(evaluation: Evaluation) -> tuple[Distiller, pl.Trainer]:
    """A distiller that only tests, and its Trainer."""
    config = evaluation.config
    distiller: Distiller = build(
        config["distiller"],
        classes=evaluation.classes,
        student=evaluation.model,
        teacher=None,
        optimizer=build(config["optimizer"]),
    )
    trainer = pl.Trainer(
        **config["trainer"],
        logger=False,
        enable_checkpointing=False,
        callbacks=build(list((config["callbacks"] or {}).values())),
        use_distributed_sampler=False,
    )
    return distiller, trainer


def build_loggers(config: dict[str, Any], folder: Path) -> list[Logger]:
    """The loggers of the config; wandb writes to disk where there is no key, and one run folder is one wandb run."""
    loggers = []
    for node in (config["logger"] or {}).values():
        extra: dict[str, Any] = {}
        if node["_target_"].endswith("WandbLogger"):
            import wandb

            offline = os.environ.get("WANDB_MODE") in ("offline", "disabled") or not wandb.api.api_key
            extra["offline"] = offline
            # Offline, the stage prints the one line that matters: how to send the run.
            extra["settings"] = wandb.Settings(silent=offline)
            extra["id"] = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=8).hexdigest()
        logger = build(node, save_dir=str(folder), **extra)
        if isinstance(logger, WandbLogger):
            logger.log_hyperparams(config)
        loggers.append(logger)
    return loggers
