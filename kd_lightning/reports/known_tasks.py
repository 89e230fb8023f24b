"""The tasks that reports know, by the name that a run's config gives."""

from typing import Any

from kd_lightning.reports.keyword.task import KeywordSpotting
from kd_lightning.reports.recognition.task import Recognition
from kd_lightning.reports.synthesis.task import Synthesis
from kd_lightning.reports.task import Task
from kd_lightning.reports.vocoding.task import Vocoding

KEYWORD = KeywordSpotting()
_TASKS: dict[str | None, Task[Any]] = {
    "keyword": KEYWORD,
    "recognition": Recognition(),
    "synthesis": Synthesis(),
    "vocoding": Vocoding(),
}


def task_of(name: str | None) -> Task[Any]:
    """The task of a run's config; keyword spotting where it gives none that is known."""
    return _TASKS.get(name, KEYWORD)
