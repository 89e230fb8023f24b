"""Config of one stage -> DataModule, student, teacher, distiller, Trainer, in the order that keeps runs comparable.

The corpus comes first, because classes and mel settings follow from it. The student is made under a seed of its own, so
that baseline and distill start from the same weights: building a teacher first would change them. Projectors come last,
sized by one dry batch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

from kd_lightning.callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from kd_lightning.callbacks.curves import Curves, CutCurves
from kd_lightning.callbacks.non_finite import NonFiniteGuard
from kd_lightning.callbacks.step_seed import StepSeed
from kd_lightning.callbacks.stop_at import StopAt
from kd_lightning.distillers.distiller import Distiller
from kd_lightning.distillers.hypotheses import Hearing
from kd_lightning.experiment.arguments import check_arguments
from kd_lightning.experiment.compose import difference
from kd_lightning.experiment.finished import (
    build_model,
    finished_config,
    finished_model,
    listening,
    without_weights,
)
from kd_lightning.experiment.loggers import build_loggers
from kd_lightning.experiment.process import prepare_process
from kd_lightning.experiment.stored_labels import open_stored
from kd_lightning.experiment.targets import build
from kd_lightning.experiment.tokens import (
    check_speakers,
    keep_tokens,
    speakers_of_stage,
    spelling_of_stage,
    teacher_pieces,
)
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.waveform_model import WaveformModel
from kd_lightning.teachers.checkpoint import load_checkpoint
from kd_lightning.teachers.ensemble import Ensemble
from kd_lightning.teachers.finished_run import check_classes, check_rate, load_weights
from kd_lightning.teachers.moving_average import MovingAverage


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
    require_types(config)
    prepare_process(config["trainer"])
    datamodule = build_corpus(config)
    student = build_student(config, datamodule)
    stored = learns_from_teacher(config) and bool(config["teacher"]["stored"])
    if stored:
        datamodule.use_labels(open_stored(config, datamodule))
    teacher = build_teacher(config, datamodule, student) if config["copy"] or not stored else None
    notes = []
    if teacher is not None and config["copy"]:
        if not isinstance(teacher, WaveformModel) or isinstance(teacher, MovingAverage):
            raise ValueError(
                "copy: the student starts from one teacher's weights: name its teacher.run, or copy=none"
            )
        copied = build(config["copy"])(student.network, teacher.network)
        notes.append(f"the student's start: {copied.summary}")
    live = teacher if learns_from_teacher(config) and not stored else None
    transfer = config["transfer"] or {"terms": {}, "weights": {}}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])  # of discriminators, which a distiller may have of its own
        distiller: Distiller = build(
            config["distiller"]
            | {
                "terms": config["distiller"]["terms"] | (transfer["terms"] or {}),
                "weights": config["distiller"]["weights"] | (transfer["weights"] or {}),
            },
            Distiller,
            classes=datamodule.classes,
            student=student,
            teacher=live,
            stored=stored,
            **_hearing(config, datamodule, live),
            **listening(config),
            **aligning(config, datamodule),
            optimizer=build(config["optimizer"]),
            scheduler=build(config["scheduler"]),
            **({"quantisation": build(config["quantisation"])} if config["quantisation"] else {}),
        )
    if config["quantisation"]:
        notes.append("trained and validated with the rounding of its int8 export")
    if any(term.is_sized for term in distiller.terms.values()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config["seed"])
            distiller.size_terms(next(iter(datamodule.train_dataloader())))
    checkpoints = folder / "checkpoints"
    checkpoints.mkdir(parents=True, exist_ok=True)
    keep_tokens(datamodule, folder)
    best = BestCheckpoint(str(checkpoints), config["monitor"])
    timer = pl.callbacks.Timer(verbose=False)
    callbacks = [
        CutCurves(str(folder)),
        StepSeed(config["seed"]),
        NonFiniteGuard(str(folder)),
        timer,
        best,
        LastCheckpoint(str(checkpoints), config["save_every_steps"]),
        *build(_wanted(config)),
    ]
    if config["stop_at"] is not None:
        callbacks.append(build({"_target_": f"{StopAt.__module__}.StopAt", **config["stop_at"]}))
    trainer = pl.Trainer(
        **_exact(config["trainer"]),
        default_root_dir=folder,
        logger=[Curves(str(folder)), *build_loggers(config, folder)],
        callbacks=callbacks,
        enable_checkpointing=True,
        # The weights that a stage starts from are candidates for the best ones.
        num_sanity_val_steps=-1,
        log_every_n_steps=1,
        use_distributed_sampler=False,
        # SLURM's own requeue would save in the middle of a step.
        plugins=[SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else None,
    )
    return Experiment(datamodule, distiller, trainer, best, timer, notes)


def require_types(config: dict[str, Any]) -> None:
    """Look at the settings that no object of the config takes.

    Raises:
        ValueError: names a key whose value is of another type than it has to be.
    """
    check_arguments(pl.Trainer, config["trainer"], "trainer")
    for key, least in {"seed": 0, "save_every_steps": 1}.items():
        if type(config[key]) is not int or config[key] < least:
            raise ValueError(f"{key}={config[key]} is not a whole number of at least {least}")


def build_corpus(config: dict[str, Any]) -> Any:
    """The DataModule, prepared and set up. Unlabelled cuts are drawn only where a transfer term can use them.

    Raises:
        ValueError: a stage that learns from labels alone would see none.
    """
    if not learns_from_teacher(config) and (config["corpus"].get("augment") or {}).get("mixup") == 1:
        raise ValueError(
            f"corpus.augment.mixup=1 hides every label, and stage={config['stage']} has no teacher: set it for one "
            "that has, stages.distill.corpus.augment.mixup=1"
        )
    datamodule = build(config["corpus"], pl.LightningDataModule, unlabelled=learns_from_teacher(config))
    if spelling := spelling_of_stage(config):
        datamodule.spell_with(spelling)
    if speakers := speakers_of_stage(config):
        datamodule.number_speakers(speakers)
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def build_student(config: dict[str, Any], datamodule: Any) -> WaveformModel:
    """The student under a seed of its own, or with the weights of a finished run.

    Raises:
        ValueError: the run has another network, other classes or other features, or the frontend another rate.
    """
    node = config["student"]
    if node["run"] is not None:
        node = node | {"network": without_weights(node["network"])}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])
        student = build_model(node, len(datamodule.classes), config["task"], speakers_of(datamodule))
    if student.frontend.sample_rate != datamodule.sample_rate:
        raise ValueError(
            f"the student hears {student.frontend.sample_rate} Hz and the corpus has {datamodule.sample_rate} Hz: "
            "choose another frontend, or frontend.sample_rate"
        )
    if node["run"] is not None:
        if isinstance(node["run"], list):
            raise ValueError("student.run: a student starts from one run, an ensemble is for teacher.run")
        run = Path(node["run"])
        if (task := finished_config(run)["task"]) != config["task"]:
            raise ValueError(
                f"student.run={run} is of task={task}, and this stage is of task={config['task']}"
            )
        check_same_task(run, node, "student", student, datamodule)
        load_weights(student, run)
    return student


def build_teacher(
    config: dict[str, Any], datamodule: Any, student: WaveformModel | None = None
) -> WaveformModel | Ensemble | None:
    """What teaches: one finished run or several, a checkpoint, or the student itself; ``None`` where nobody asks it.

    Args:
        config: of the stage.
        datamodule: prepared and set up.
        student: what a moving average follows.

    Raises:
        FileNotFoundError: a run that has not finished, a file that is not there.
        ValueError: no teacher or two, or one that does not fit.
    """
    node = config["teacher"]
    if node is None or not (learns_from_teacher(config) or config["copy"]):
        return None
    average, run, checkpoint = (node.get(key) for key in ("average", "run", "checkpoint"))
    if sum(map(bool, (average, run, checkpoint))) > 1:
        raise ValueError(
            "choose one of teacher=moving_average (or earlier_copy), teacher.run and teacher.checkpoint"
        )
    if average:
        if config["task"] != "keyword":
            raise ValueError("teacher.average follows keyword spotters: name a finished run in teacher.run")
        if student is None:
            raise ValueError("the moving average of a student has said nothing before the student is trained")
        average_of_student: MovingAverage = build(average, MovingAverage, student=student)
        return average_of_student
    if checkpoint:
        return _teacher_of_checkpoint(node, config["task"], datamodule)
    if not run:
        raise ValueError(
            "this stage learns from a teacher: set teacher.run=<folder of a finished run>, or transfer=none"
        )
    runs = [Path(each) for each in (run if isinstance(run, list) else [run])]
    if len(runs) > 1 and config["task"] != "keyword":
        raise ValueError(
            "teacher.run: several teachers hear or say several things, so one of them has to teach"
        )
    teachers = [_teacher_of_run(each, config["task"], datamodule) for each in runs]
    return teachers[0] if len(teachers) == 1 else Ensemble(teachers)


def _hearing(config: dict[str, Any], datamodule: Any, teacher: Any) -> dict[str, Hearing]:
    """How a recogniser is understood that teaches live; nothing for other tasks."""
    if not isinstance(teacher, Recogniser):
        return {}
    labels = config["labels"]
    pieces = teacher_pieces(config, teacher, datamodule)
    return {"hearing": Hearing(pieces, datamodule.spell, labels["decoding"], labels["max_wer"])}


def aligning(config: dict[str, Any], datamodule: Any) -> dict[str, WaveformModel]:
    """What times the tokens of recordings, for synthesis from a corpus that does not tell; nothing elsewhere.

    Raises:
        FileNotFoundError, ValueError: the run is not there, or does not fit the corpus.
    """
    run = config["aligner"]
    if config["task"] != "synthesis" or datamodule.has_durations or run is None:
        return {}
    return {"aligner": _teacher_of_run(Path(run), config["task"], datamodule)}


def speakers_of(datamodule: Any) -> int:
    """Number of speakers of a corpus, where its networks speak."""
    return max(1, len(getattr(datamodule, "speakers", ())))


def _teacher_of_run(run: Path, task: str, datamodule: Any) -> WaveformModel:
    teacher, finished = finished_model(run)
    if finished["task"] != task:
        raise ValueError(f"{run} was trained for task={finished['task']}, and this stage is of task={task}")
    if task != "recognition":  # a recogniser can be understood through text
        check_classes(run, finished["classes"], datamodule.classes)
    check_speakers(run, finished, datamodule)
    check_rate(run, teacher.frontend.sample_rate, datamodule.sample_rate)
    return teacher


def _teacher_of_checkpoint(node: dict[str, Any], task: str, datamodule: Any) -> WaveformModel:
    """The network of ``teacher.network`` with the weights of a file, which does not say what its classes are.

    A checkpoint that lies in a run's folder is compared with the config of that run.
    """
    path = Path(node["checkpoint"])
    if "network" not in node:
        raise ValueError("teacher.checkpoint needs a teacher with a network: choose teacher=<network>")
    with torch.random.fork_rng(devices=[]):
        network = without_weights(node["network"])
        teacher = build_model(
            node | {"network": network}, len(datamodule.classes), task, speakers_of(datamodule)
        )
    run = path.parents[1]
    if (run / "config.json").is_file():
        check_same_task(run, node, "teacher", teacher, datamodule)
    else:
        check_rate(path, teacher.frontend.sample_rate, datamodule.sample_rate)
    load_checkpoint(teacher, path)
    return teacher


def check_same_task(
    run: Path, node: dict[str, Any], role: str, model: WaveformModel, datamodule: Any
) -> None:
    """Refuse weights of a run whose classes, speakers or features are not those of the config.

    Args:
        run: where the weights come from.
        node: ``config["student"]`` or ``config["teacher"]``.
        role: ``student`` or ``teacher``.
        model: what the config builds.
        datamodule: prepared and set up.

    Raises:
        ValueError: names what differs.
    """
    finished = finished_config(run)
    check_classes(run, finished["classes"], getattr(model.network, "pieces", datamodule.classes))
    check_speakers(run, finished, datamodule)
    check_rate(run, model.frontend.sample_rate, datamodule.sample_rate)
    if finished["student"]["frontend"] != node["frontend"]:
        raise ValueError(
            f"{run} was trained on other features than {role}.frontend: "
            f"{'; '.join(difference(finished['student']['frontend'], node['frontend']))}"
        )


def learns_from_teacher(config: dict[str, Any]) -> bool:
    """Whether any transfer term will listen to the teacher."""
    return bool(config["transfer"] and config["transfer"]["terms"])


def _wanted(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The configs of the callbacks, without a progress bar where ``trainer.enable_progress_bar`` takes it away."""
    callbacks = config["callbacks"] or {}
    shown = config["trainer"].get("enable_progress_bar", True)
    return [node for key, node in callbacks.items() if shown or key != "progress"]


def _exact(trainer: dict[str, Any]) -> dict[str, Any]:
    """The Trainer's arguments, without those under which a resumed run would not be the same.

    Raises:
        ValueError: naming the argument.
    """
    if trainer.get("accumulate_grad_batches", 1) != 1:
        raise ValueError(
            "trainer.accumulate_grad_batches: not supported; raise corpus.batch_size or trainer.devices"
        )
    return trainer
