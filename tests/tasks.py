"""Which files of ``conf`` are for which task."""

import inspect
from collections.abc import Iterator
from typing import get_type_hints

import yaml

from kd_lightning.experiment.compose import conf_folder
from kd_lightning.experiment.targets import resolve
from kd_lightning.models.acoustic_output import AcousticOutput
from kd_lightning.models.recognition_output import RecognitionOutput

# What a network gives, by task; a vocoder is known by what it takes.
OUTPUTS = {RecognitionOutput: "recognition", AcousticOutput: "synthesis"}


def names(group: str) -> list[str]:
    """The choices of a config group."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def task_of_network(group: str, name: str) -> str | None:
    """What the network of a teacher or a student of ``conf`` is for; ``None`` where none is named."""
    node = yaml.safe_load((conf_folder() / group / f"{name}.yaml").read_text())
    if "network" not in node:
        return None
    network = resolve(node["network"]["_target_"])
    if "hop_length" in inspect.signature(network).parameters:
        return "vocoding"
    return OUTPUTS.get(get_type_hints(network.forward).get("return"), "keyword")


def networks(group: str, task: str) -> list[str]:
    """The teachers or students of ``conf`` for a task."""
    return [name for name in names(group) if name not in TWO_TASKS and task_of_network(group, name) == task]


def built_on(group: str, name: str) -> Iterator[str]:
    """A choice of a config group as it is written, then those that it builds on."""
    text = (conf_folder() / group / f"{name}.yaml").read_text()
    yield text
    for base in yaml.safe_load(text).get("defaults", []):
        if isinstance(base, str) and base != "_self_":
            yield from built_on(group, base)


def recipes(task: str) -> list[str]:
    """The choices of conf/transfer with terms of a task that speaks."""
    return [
        name
        for name in names("transfer")
        if any(f"kd_lightning.distillers.{task}_terms." in text for text in built_on("transfer", name))
    ]


def experiments(task: str) -> list[str]:
    """The experiments of a task."""
    return [
        name
        for name in names("experiment")
        if any(f"\ntask: {task}\n" in text for text in built_on("experiment", name))
    ]


# Of two tasks at once, which experiment=two_tasks brings together.
TWO_TASKS = ("two_tasks", "two_tasks_small", "two_tasks_teacher")
SYNTHESIS_RECIPES = recipes("synthesis")
VOCODING_RECIPES = recipes("vocoding")
RECOGNITION_RECIPES = [
    name for name in names("transfer") if name.startswith(("ctc_", "sequence", "attention_"))
]
KEYWORD_RECIPES = [
    name
    for name in names("transfer")
    if name not in (*RECOGNITION_RECIPES, *SYNTHESIS_RECIPES, *VOCODING_RECIPES, *TWO_TASKS)
]
RECOGNITION_STUDENTS = networks("student", "recognition")
KEYWORD_STUDENTS = networks("student", "keyword")
SYNTHESIS_STUDENTS = networks("student", "synthesis")
SYNTHESIS_TEACHERS = networks("teacher", "synthesis")
VOCODING_STUDENTS = networks("student", "vocoding")
VOCODING_TEACHERS = networks("teacher", "vocoding")
KEYWORD_EXPERIMENTS = experiments("keyword")
# Whisper needs a folder of weights.
RECOGNITION_EXPERIMENTS = [
    name for name in experiments("recognition") if name not in ("distil_whisper", *TWO_TASKS)
]
SYNTHESIS_EXPERIMENTS = experiments("synthesis")
VOCODING_EXPERIMENTS = experiments("vocoding")
