"""Which files of ``conf`` are for which task."""

from typing import get_type_hints

import yaml

from kd_lightning.experiment.compose import conf_folder
from kd_lightning.experiment.targets import resolve
from kd_lightning.models.recognition_output import RecognitionOutput


def names(group: str) -> list[str]:
    """The choices of a config group."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def recognises(group: str, name: str) -> bool:
    """Whether a teacher or a student of ``conf`` gives scores of tokens."""
    node = yaml.safe_load((conf_folder() / group / f"{name}.yaml").read_text())
    if "network" not in node:
        return False
    return get_type_hints(resolve(node["network"]["_target_"]).forward)["return"] is RecognitionOutput


# Of two tasks at once, which experiment=two_tasks brings together.
TWO_TASKS = ("two_tasks", "two_tasks_small", "two_tasks_teacher")
RECOGNITION_RECIPES = [
    name for name in names("transfer") if name.startswith(("ctc_", "sequence", "attention_"))
]
KEYWORD_RECIPES = [name for name in names("transfer") if name not in (*RECOGNITION_RECIPES, *TWO_TASKS)]
RECOGNITION_STUDENTS = [
    name for name in names("student") if name not in TWO_TASKS and recognises("student", name)
]
KEYWORD_STUDENTS = [name for name in names("student") if name not in (*RECOGNITION_STUDENTS, *TWO_TASKS)]
KEYWORD_EXPERIMENTS = [name for name in names("experiment") if name.startswith("speech_commands")]
RECOGNITION_EXPERIMENTS = [
    name for name in names("experiment") if name.startswith(("common_voice", "libritts"))
]
