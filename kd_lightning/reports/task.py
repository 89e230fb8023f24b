"""What sets one task's report apart from another's; all else of a report is the same for every task."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from kd_lightning.metrics.intervals import Estimate, interval
from kd_lightning.metrics.scores import is_better
from kd_lightning.reports.aligned import Aligned
from kd_lightning.reports.formats import SHARE, Unit
from kd_lightning.reports.html import Section
from kd_lightning.reports.runs import Predictions, Run
from kd_lightning.reports.table import Table

Outcomes = TypeVar("Outcomes")
Texts = NDArray[np.object_]


class Scores(NamedTuple):
    """Metrics by key, and the 95 % intervals of those that have one."""

    metrics: dict[str, float]
    intervals: dict[str, list[float]]


class Task(ABC, Generic[Outcomes]):
    """The metric of a task, how it is counted and compared, and what is shown of it.

    ``Outcomes`` is what is counted of a network's outputs, one item an utterance: whether it is right, its errors, or
    what was measured of it.

    Attributes:
        metric: key of the metric that decides.
        called: its name in a sentence.
        others: names of the metrics that a sweep shows beside it, by key.
        labels: what students may not see of all training cuts.
        macs: head of the column of multiply-accumulates, and the key of a row that it shows.
        parts: keys of ``details``.
    """

    metric: ClassVar[str]
    called: ClassVar[str]
    others: ClassVar[Mapping[str, str]]
    labels: ClassVar[str]
    macs: ClassVar[tuple[str, str]]
    parts: ClassVar[tuple[str, ...]]

    @property
    def lower_is_better(self) -> bool:
        return is_better(self.metric, 0.0, 1.0)

    @property
    def direction(self) -> str:
        """What to say beside a signed difference; empty where a plus is better, as everyone expects."""
        return "negative is better" if self.lower_is_better else ""

    def unit(self, key: str) -> Unit:
        """What a metric is shown in; a share in % unless the task says otherwise."""
        return SHARE

    @property
    def main(self) -> Unit:
        """What the metric that decides is shown in."""
        return self.unit(self.metric)

    # What is counted

    @abstractmethod
    def outcomes(self, aligned: Aligned, stage: str) -> Outcomes:
        """Count what a stage's network said of each cut."""

    @abstractmethod
    def scores(self, predictions: Predictions) -> Scores:
        """The metrics that follow from the predictions of one run; intervals are clustered as ``resampled`` says."""

    @abstractmethod
    def difference(self, one: Outcomes, other: Outcomes, speakers: Texts) -> Estimate:
        """Paired difference one - other in the metric."""

    @abstractmethod
    def gap_recovered(
        self, student: Outcomes, baseline: Outcomes, teacher: Outcomes, speakers: Texts
    ) -> Estimate | None:
        """Share of the gap between baseline and teacher that the student closed, where there surely is one."""

    def agreement(self, outputs: Texts, teacher: Texts, speakers: Texts) -> Scores:
        """How near a student's outputs are to the teacher's: the share of cuts with the same output."""
        same = np.asarray(outputs == teacher, dtype=bool)
        return Scores({"agreement": float(same.mean())}, {"agreement": list(interval(same, speakers))})

    @abstractmethod
    def corpus(self, run: Run) -> dict[str, Any]:
        """What comparison.json says of the corpus of this task."""

    @abstractmethod
    def details(self, aligned: Aligned, outcomes: Mapping[str, Outcomes]) -> dict[str, Any]:
        """What the task adds to comparison.json, under the keys ``parts``.

        Args:
            aligned: what the stages said of the cuts that all of them scored.
            outcomes: what was counted of each.
        """

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        """What the reader has to know of these runs before they compare them."""
        return []

    def resampled(self, speakers: int) -> str:
        """What intervals are bootstrapped over when the test cuts are of so many speakers."""
        return "speakers"

    # What is shown: of a comparison, as plain values

    @abstractmethod
    def inventory(self, corpus: Mapping[str, Any]) -> list[str]:
        """What ``corpus`` found, in a few words each."""

    @abstractmethod
    def quality(self, comparison: Mapping[str, Any]) -> Table:
        """How good each stage's network is."""

    def further_quality(self, comparison: Mapping[str, Any]) -> list[Table]:
        """What does not fit beside it."""
        return []

    @abstractmethod
    def sentences(self, comparison: Mapping[str, Any]) -> list[str]:
        """What the student lost or kept, in words."""

    @abstractmethod
    def sections(self, comparison: Mapping[str, Any], runs: Mapping[str, Run]) -> list[Section]:
        """The sections of the page that only this task has."""

    @abstractmethod
    def printed(self, comparison: Mapping[str, Any]) -> list[Table]:
        """The tables of this task that are printed in the terminal."""


def last_student(stages: Mapping[str, object]) -> str | None:
    """The stage whose network would be deployed."""
    return next((stage for stage in ("finetune", "distill", "baseline") if stage in stages), None)
