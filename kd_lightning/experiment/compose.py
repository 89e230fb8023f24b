"""The config of one stage: what Hydra composed, with the stage's own part merged in and resolved to plain values."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from kd_lightning.experiment.job_folder import job_folder
from kd_lightning.experiment.wandb_environment import in_wandb_sweep

STAGES = ("teacher", "assistant", "baseline", "distill", "finetune")

# What a stage does not look at.
WITHOUT_TEACHER = ("teacher", "transfer", "copy", "assistant")
IGNORED = {
    "teacher": (
        "student",
        "transfer",
        "copy",
        "assistant",
        "quantisation",
        "teacher.run",
        "teacher.checkpoint",
    ),
    "assistant": ("student", "quantisation"),
    "baseline": WITHOUT_TEACHER,
    "distill": ("assistant",),
    "finetune": WITHOUT_TEACHER,
}

# What may change between two starts of the same run: where things lie, how it is watched, how fast it is fed.
# Of the runs that it builds on, the weights are compared, not the place (`sources`).
FREE_TO_CHANGE = (
    *("paths", "logger", "name", "folder", "overrides", "typed", "save_every_steps"),
    *("callbacks.progress", "callbacks.audio", "callbacks.speech"),
    *("corpus.workers", "corpus.data", "corpus.clips.workers", "corpus.clips.data"),
    *("student.run", "teacher.run", "teacher.checkpoint", "aligner", "labels.audio"),
    *("trainer.enable_progress_bar", "trainer.enable_model_summary"),
)
# Of these, the runs that a job of a sweep builds on say which job it is.
BUILT_ON = ("student.run", "teacher.run", "teacher.checkpoint", "aligner")

OmegaConf.register_new_resolver("add", lambda *terms: sum(terms), replace=True)
OmegaConf.register_new_resolver(
    "if_embedded", lambda root, download, yes, no: yes if root is None and not download else no, replace=True
)
# ${by_task:${task},{vocoding:24},120}: 24 where task=vocoding, and 120 elsewhere.
OmegaConf.register_new_resolver("by_task", lambda task, own, others: own.get(task, others), replace=True)
# ${job_folder:${hydra.overrides.task}} names the folder of a job of a sweep.
OmegaConf.register_new_resolver("job_folder", lambda words: job_folder(telling(words)), replace=True)


class Request(NamedTuple):
    """What the command line asked for.

    Attributes:
        config: as composed by Hydra, unresolved.
        overrides: the command line's words, e.g. ``("transfer=none", "seed=1")``.
        job_folder: the job's folder in a multirun, else ``None``.
        launcher: class path of the multirun's launcher.
    """

    config: DictConfig
    overrides: tuple[str, ...] = ()
    job_folder: str | None = None
    launcher: str = ""


def conf_folder() -> Path:
    """``kd_lightning/conf`` of an installed wheel, else ``conf`` beside the package of a checkout.

    Raises:
        FileNotFoundError: neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise FileNotFoundError(f"no conf/config.yaml in {package} or beside it: reinstall kd_lightning")


def telling(words: Iterable[str]) -> list[str]:
    """The words that say which job of a sweep this is: all but those for what may change between two starts."""
    free = [f"{key}." for key in FREE_TO_CHANGE if key not in BUILT_ON]
    told = [word.lstrip("+") for word in words]
    return [word for word in told if not f"{word.partition('=')[0]}.".startswith(tuple(free))]


def typed_again(request: Request, folder: str) -> list[str]:
    """The words that train a stage again: all that were typed. What sweeps its jobs names their folders as well.

    Args:
        request: what the command line asked for.
        folder: of the stage.
    """
    if request.job_folder is None and not in_wandb_sweep():
        return list(request.overrides)
    others = [word for word in request.overrides if word.lstrip("+").partition("=")[0] != "folder"]
    # Job folders have = and , in their names.
    return [*others, f"folder={QuotedString(folder, Quote.double).with_quotes()}"]


def stage_config(request: Request, stage: str, **values: Any) -> dict[str, Any]:
    """The resolved config of one stage as plain values.

    ``stages.<stage>`` is merged over the root: a part of it that has a ``_target_`` replaces the root's, and terms that
    it sets to null are taken out. A stage without a teacher drops the transfer recipe; ``stage=teacher`` and
    ``stage=assistant`` train the teacher's and the assistant's network in the student's place.

    Args:
        request: what the command line asked for.
        stage: one of ``STAGES``.
        values: dotted keys with ``__`` for the dot, set last, e.g. ``teacher__run="runs/a/teacher"``.

    Raises:
        ValueError: no such stage, no network for it, or no folder for what is written.
        OmegaConfBaseException: a key under ``stages.<stage>`` that the config does not have.
    """
    composed = request.config
    if stage not in STAGES:
        raise ValueError(f"stage={stage}: there are {', '.join(STAGES)}")
    if unknown := [key for key in composed.stages if key not in STAGES]:
        raise ValueError(f"stages.{unknown[0]}: there are {', '.join(STAGES)}")
    for key in ("name", "paths.runs", "paths.data"):
        if OmegaConf.select(composed, key) is None:
            raise ValueError(f"{key} names a folder, and is not set")
    own = composed.stages[stage]
    config = OmegaConf.merge(_with_own_parts(composed, own), {"stage": stage}, own)
    assert isinstance(config, DictConfig)
    for key, value in values.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    if request.job_folder is not None:
        config.folder = request.job_folder
    if composed.teacher.stored and stage != "teacher":
        config.corpus.views = config.labels.views  # the baseline's as well
    resolved = OmegaConf.to_container(config, resolve=True)
    assert isinstance(resolved, dict)
    del resolved["stages"]
    assistant = resolved.pop("assistant")
    if stage == "teacher":
        teacher = OmegaConf.to_container(composed.teacher, resolve=True)
        resolved["student"] = _in_the_students_place(teacher, "teacher")
    elif stage == "assistant":
        resolved["student"] = _in_the_students_place(assistant, "assistant")
    if stage in ("teacher", "assistant"):
        resolved["quantisation"] = None  # what is deployed is the student
    if resolved["teacher"] is None:
        resolved["transfer"] = resolved["copy"] = None
    else:
        _make_absolute(resolved["teacher"])
    _make_absolute(resolved["student"])
    _without_nulls(resolved["distiller"])
    resolved["overrides"] = (
        telling(request.overrides) if request.job_folder or in_wandb_sweep() else list(request.overrides)
    )
    resolved["typed"] = typed_again(request, resolved["folder"])
    config_of_stage = {str(key): value for key, value in resolved.items()}
    _make_absolute(config_of_stage, ("aligner",))
    return config_of_stage


def _with_own_parts(composed: DictConfig, own: DictConfig) -> DictConfig:
    """The root config with those parts of a stage that name a ``_target_``: they replace what is there, all of it."""
    config = composed.copy()
    for key, part in own.items():
        if isinstance(part, DictConfig) and "_target_" in part:
            config[key] = part
    return config


def _in_the_students_place(node: Any, role: str) -> dict[str, Any]:
    """Another network to train, from weights of its own.

    Raises:
        ValueError: this choice of teacher or assistant has no network.
    """
    if "network" not in node:
        raise ValueError(
            f"stage={role} has no network to train: choose {role}=<network>, such as those in conf/{role}"
        )
    return {"network": node["network"], "frontend": node["frontend"], "run": None}


def _without_nulls(distiller: dict[str, Any]) -> None:
    """Take out the terms of other stages."""
    for part in ("terms", "weights"):
        distiller[part] = {key: value for key, value in distiller[part].items() if value is not None}


def _make_absolute(node: dict[str, Any], keys: tuple[str, ...] = ("run", "checkpoint", "stored")) -> None:
    """Paths that stay what they are wherever a later command is typed."""
    for key in keys:
        value = node.get(key)
        if isinstance(value, list):
            node[key] = [str(Path(path).absolute()) for path in value]
        elif isinstance(value, str):
            node[key] = str(Path(value).absolute())


def warn_of_ignored_words(request: Request, stages: tuple[str, ...]) -> None:
    """Say which words no stage to run looks at; words for several commands may hold such, so this is no error."""
    for word in request.overrides:
        key, _, value = word.lstrip("+").partition("=")
        unread = [part for stage in stages for part in IGNORED[stage] if f"{key}.".startswith(f"{part}.")]
        if len(unread) == len(stages) and value not in ("none", "null"):
            logging.getLogger("kd_lightning").warning(
                "%s has no effect: stage=%s does not look at %s", word, ",".join(stages), unread[0]
            )


def forbid_shadowed_words(request: Request, stages: tuple[str, ...]) -> None:
    """Refuse a word that every stage to run sets otherwise, instead of ignoring it.

    Raises:
        ValueError: with the word that would work.
    """
    for word in request.overrides:
        key, _, value = word.lstrip("+").partition("=")
        if (conf_folder() / key).is_dir():
            continue  # a choice from a group
        if all(key in flat(OmegaConf.to_container(request.config.stages[stage])) for stage in stages):
            raise ValueError(f"{word} would have no effect: type stages.{stages[-1]}.{key}={value}")


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as dotted keys."""
    if not isinstance(config, dict):
        return {prefix: config}
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        leaves |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return leaves


def difference(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Lines ``key: before -> now`` for what differs and may not."""
    old, new = flat(before), flat(now)
    keys = [
        key
        for key in sorted(old.keys() | new.keys())
        if not any(key == free or key.startswith(f"{free}.") for free in FREE_TO_CHANGE)
    ]
    missing = "(not set)"
    return [
        f"{key}: {old.get(key, missing)} -> {new.get(key, missing)}"
        for key in keys
        if old.get(key, missing) != new.get(key, missing)
    ]


def forbid_sweep_of_ranks(request: Request, config: dict[str, Any]) -> None:
    """Refuse a multirun whose job starts ranks by itself: rank 1 runs the command again, and that is the whole sweep.

    Args:
        request: what the command line asked for.
        config: of the stage.

    Raises:
        ValueError: with the way out.
    """
    trainer = config["trainer"]
    one_process = (
        trainer["devices"] in (1, "1") and trainer["num_nodes"] == 1 and "WORLD_SIZE" not in os.environ
    )
    if request.job_folder is None or "submitit" in request.launcher or one_process:
        return
    raise ValueError(
        f"a multirun with trainer.devices={trainer['devices']} would start the sweep once a rank: add "
        "hydra/launcher=slurm (SLURM starts the ranks of each job), keep trainer.devices=1 with "
        "hydra/launcher=joblib, or start one command a job"
    )


def with_keys(config: dict[str, Any], words: dict[str, Any]) -> dict[str, Any]:
    """A finished run's config with further words merged over it.

    Raises:
        OmegaConfBaseException: a word whose key the config does not have.
    """
    base = OmegaConf.create(config)
    OmegaConf.set_struct(base, True)
    merged = OmegaConf.merge(base, words)
    plain = OmegaConf.to_container(merged)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
