"""Keyword spotting: one of the classes a cut, right or wrong."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from kd_lightning.metrics.intervals import Estimate, gap_recovered, interval, paired_difference
from kd_lightning.reports.aligned import Aligned
from kd_lightning.reports.formats import count
from kd_lightning.reports.html import Section, plot
from kd_lightning.reports.keyword import plots, tables
from kd_lightning.reports.keyword.flips import accuracy_by_noise, flips, worst_confusions
from kd_lightning.reports.keyword.listening import lost_clips
from kd_lightning.reports.runs import Predictions, Run, texts
from kd_lightning.reports.table import Table
from kd_lightning.reports.task import Scores, Task, Texts, last_student

Correct = NDArray[np.bool_]


class KeywordSpotting(Task[Correct]):
    """Accuracy, flips from one network to another, and confusions of words."""

    metric = "accuracy"
    called = "accuracy"
    others: ClassVar[Mapping[str, str]] = {"f1": "F1", "ece": "ECE"}
    labels = "labels"
    macs = ("MACs", "macs")
    parts = ("flips", "noise", "confusions")

    def outcomes(self, aligned: Aligned, stage: str) -> Correct:
        return aligned.correct(stage)

    def scores(self, predictions: Predictions) -> Scores:
        correct = predictions.correct
        bounds = list(interval(correct, predictions.speakers))
        return Scores({"accuracy": float(correct.mean())}, {"accuracy": bounds})

    def difference(self, one: Correct, other: Correct, speakers: Texts) -> Estimate:
        return paired_difference(one, other, speakers)

    def gap_recovered(
        self, student: Correct, baseline: Correct, teacher: Correct, speakers: Texts
    ) -> Estimate | None:
        return gap_recovered(student, baseline, teacher, speakers)

    def corpus(self, run: Run) -> dict[str, Any]:
        return {"classes": texts(run.config.get("classes"))}

    def details(self, aligned: Aligned, outcomes: Mapping[str, Correct]) -> dict[str, Any]:
        student = last_student(outcomes)
        before = [stage for stage in ("teacher", "baseline") if stage in outcomes and stage != student]
        teacher = "teacher" if "teacher" in outcomes else None
        return {
            "flips": [flips(aligned, stage, student) for stage in before] if student else [],
            "noise": accuracy_by_noise(aligned),
            "confusions": worst_confusions(aligned, student, teacher) if student else [],
        }

    def inventory(self, corpus: Mapping[str, Any]) -> list[str]:
        return [f"{len(corpus['classes'])} classes"] if corpus["classes"] else []

    def quality(self, comparison: Mapping[str, Any]) -> Table:
        return tables.quality(comparison)

    def sentences(self, comparison: Mapping[str, Any]) -> list[str]:
        return [
            f"{found['from']} → {found['to']}: {count(found['lost'])} of {count(found['cuts'])} cuts lost "
            f"(right before, wrong now), {count(found['gained'])} gained."
            for found in comparison["flips"]
        ]

    def sections(self, comparison: Mapping[str, Any], runs: Mapping[str, Run]) -> list[Section]:
        shown = {stage: run for stage, run in runs.items() if stage != "distill" or "finetune" not in runs}
        words = comparison["corpus"]["classes"]
        confusion = plot(
            "confusion",
            "Confusion matrices: share of each word said that was heard as each word.",
            lambda theme: plots.confusion_matrices(shown, words, theme),
        )
        calibration = plot(
            "reliability",
            "Reliability diagrams: accuracy over confidence, and how many cuts lie at each confidence.",
            lambda theme: plots.reliability(runs, theme),
        )
        diagonal = "On the diagonal a network is right as often as it is sure; below it is overconfident."
        confused = [tables.confusions(comparison)] if comparison["confusions"] else []
        return [
            *_changes(comparison),
            *lost_clips(runs),
            Section("Confusions", [], confused, [confusion]),
            Section("Reliability", [diagonal], [], [calibration]),
        ]

    def printed(self, comparison: Mapping[str, Any]) -> list[Table]:
        by_noise = [tables.noise(comparison)] if comparison["noise"] else []
        return by_noise + [tables.flips_by_word(found, most=8) for found in comparison["flips"][:1]]


def _changes(comparison: Mapping[str, Any]) -> list[Section]:
    """What the student lost and gained: by noise level, by word, by speaker."""
    by_noise: list[Table] = [tables.noise(comparison)] if comparison["noise"] else []
    by_noise += [tables.flips_by_noise(found) for found in comparison["flips"] if found["by_noise"]]
    by_word = [tables.flips_by_word(found) for found in comparison["flips"]]
    by_speaker = [tables.flips_by_speaker(found) for found in comparison["flips"] if found["by_speaker"]]
    text = ["Lost: right before, wrong now. Gained: wrong before, right now."]
    return [
        Section(title, text, found, [])
        for title, found in (
            ("What changed, by noise level", by_noise),
            ("What changed, by word", by_word),
            ("What changed, by speaker", by_speaker),
        )
        if found
    ]
