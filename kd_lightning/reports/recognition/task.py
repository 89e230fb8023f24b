"""Speech recognition: errors per word of the reference, summed over utterances."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from kd_lightning.metrics.intervals import Estimate
from kd_lightning.metrics.word_errors import (
    Edits,
    character_edits,
    rate_difference,
    rate_gap_recovered,
    rate_interval,
    word_edits,
)
from kd_lightning.reports.aligned import Aligned
from kd_lightning.reports.audio import MOST, audio_files, embedded
from kd_lightning.reports.formats import count, percent, seconds
from kd_lightning.reports.html import Section
from kd_lightning.reports.recognition import tables
from kd_lightning.reports.recognition.errors import (
    by_length,
    by_noise,
    by_speaker,
    lost_words,
    mistakes,
    word_mistakes,
    words_spoken,
)
from kd_lightning.reports.recognition.utterances import LEGEND, beside_reference, most_different
from kd_lightning.reports.runs import Predictions, Run, texts, whole
from kd_lightning.reports.table import Table
from kd_lightning.reports.task import Scores, Task, Texts, last_student


class Recognition(Task[list[Edits]]):
    """Word error rate, where it comes from, and the utterances that student and teacher recognise differently."""

    metric = "wer"
    called = "WER"
    others: ClassVar[Mapping[str, str]] = {"cer": "CER"}
    labels = "transcripts"
    macs = ("MACs / s", "macs_per_second")
    parts = ("noise", "lengths", "speakers", "lost", "confusions", "deleted", "inserted", "utterances")

    def outcomes(self, aligned: Aligned, stage: str) -> list[Edits]:
        return word_edits(aligned.references.tolist(), aligned.outputs[stage].tolist())

    def scores(self, predictions: Predictions) -> Scores:
        said, heard, speakers = (
            column.tolist() for column in (predictions.references, predictions.outputs, predictions.speakers)
        )
        counted = {"wer": word_edits(said, heard), "cer": character_edits(said, heard)}
        rates = {key: rate_interval(edits, speakers) for key, edits in counted.items()}
        total = sum(counted["wer"], Edits())
        kinds = ("substitutions", "deletions", "insertions")
        return Scores(
            {key: rate.value for key, rate in rates.items()}
            | {kind: getattr(total, kind) / max(1, total.reference) for kind in kinds},
            {key: [rate.low, rate.high] for key, rate in rates.items()},
        )

    def difference(self, one: list[Edits], other: list[Edits], speakers: Texts) -> Estimate:
        return rate_difference(one, other, speakers.tolist())

    def gap_recovered(
        self, student: list[Edits], baseline: list[Edits], teacher: list[Edits], speakers: Texts
    ) -> Estimate | None:
        return rate_gap_recovered(student, baseline, teacher, speakers.tolist())

    def agreement(self, outputs: Texts, teacher: Texts, speakers: Texts) -> Scores:
        """The share of utterances with the teacher's output, and the error rate with that output as reference."""
        metrics, intervals = super().agreement(outputs, teacher, speakers)
        rate = rate_interval(word_edits(teacher.tolist(), outputs.tolist()), speakers.tolist())
        return Scores(
            metrics | {"wer_to_teacher": rate.value}, intervals | {"wer_to_teacher": [rate.low, rate.high]}
        )

    def corpus(self, run: Run) -> dict[str, Any]:
        length = float(run.predictions.seconds.sum())
        return {
            "tokens": len(texts(run.config.get("classes"))) or None,
            "test_words": sum(len(said.split()) for said in run.predictions.references),
            "test_seconds": length if np.isfinite(length) else None,
        }

    def details(self, aligned: Aligned, outcomes: Mapping[str, list[Edits]]) -> dict[str, Any]:
        student = last_student(outcomes)
        judged = student or next(reversed(list(outcomes)))
        teacher = "teacher" if "teacher" in outcomes and judged != "teacher" else None
        spoken = words_spoken(aligned)
        made = {
            stage: mistakes(aligned, outcomes, stage)
            for stage in dict.fromkeys(("teacher", "baseline", judged))
            if stage in outcomes
        }
        return {
            "noise": by_noise(aligned, outcomes),
            "lengths": by_length(aligned, outcomes),
            "speakers": by_speaker(aligned, outcomes, judged),
            "lost": lost_words(spoken, made, judged) if teacher else [],
            **word_mistakes(spoken, made[judged], made[teacher] if teacher else None),
            "utterances": most_different(aligned, outcomes, judged) if teacher else [],
        }

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        versions = {stage: whole(run.results, "scoring_version") for stage, run in runs.items()}
        known = {stage: version for stage, version in versions.items() if version is not None}
        if len(set(known.values())) < 2:
            return []
        forms = ", ".join(f"{stage} {version}" for stage, version in known.items())
        return [
            f"The texts were scored in different forms (versions: {forms}): error rates do not compare. "
            "Train or evaluate again with one version of kd_lightning."
        ]

    def inventory(self, corpus: Mapping[str, Any]) -> list[str]:
        length = f" in {seconds(corpus['test_seconds'])}" if corpus["test_seconds"] is not None else ""
        tokens = [f"{count(corpus['tokens'])} tokens"] if corpus["tokens"] else []
        return [*tokens, f"{count(corpus['test_words'])} test words{length}"]

    def quality(self, comparison: Mapping[str, Any]) -> Table:
        return tables.quality(comparison)

    def further_quality(self, comparison: Mapping[str, Any]) -> list[Table]:
        return [tables.errors(comparison)]

    def sentences(self, comparison: Mapping[str, Any]) -> list[str]:
        rows = {row["stage"]: row for row in comparison["rows"]}
        student = last_student(rows)
        metrics = rows[student]["metrics"] if student else {}
        if "wer_to_teacher" not in metrics:
            return []
        return [
            f"{student} recognises the same as the teacher in {percent(metrics['agreement'])} % of the utterances; "
            f"with the teacher's output as reference its WER is {percent(metrics['wer_to_teacher'])} %."
        ]

    def sections(self, comparison: Mapping[str, Any], runs: Mapping[str, Run]) -> list[Section]:
        groups = (("noise", tables.by_noise), ("lengths", tables.by_length), ("speakers", tables.by_speaker))
        words = (
            ("lost", tables.lost_words),
            ("confusions", tables.confusions),
            ("deleted", tables.deleted),
            ("inserted", tables.inserted),
        )
        sections = []
        for title, parts in (("Where the errors are", groups), ("Which words are wrong", words)):
            if shown := [table(comparison) for part, table in parts if comparison[part]]:
                sections.append(Section(title, [], shown, []))
        if comparison["utterances"]:
            sections.append(_utterances(comparison["utterances"], runs))
        return sections

    def printed(self, comparison: Mapping[str, Any]) -> list[Table]:
        by_level = [tables.by_noise(comparison)] if comparison["noise"] else []
        return by_level + ([tables.confusions(comparison, most=8)] if comparison["confusions"] else [])


def _utterances(found: list[dict[str, Any]], runs: Mapping[str, Run]) -> Section:
    """The utterances that tell most, to read and, where a run kept their audio, to hear."""
    folders = [run.folder for run in runs.values()]
    audio, left_out = embedded({one["cut"]: audio_files(folders, one["cut"]) for one in found})
    text = [
        f"The {len(found)} utterances with the largest difference in errors between student and teacher.",
        LEGEND,
    ]
    if left_out:
        text.append(
            f"The page holds at most {MOST / 1e6:.0f} MB of audio and plays {len(audio)} of these utterances; the "
            f"audio of {len(left_out)} more is in the run's folder audio/."
        )
    shown = [beside_reference(one, audio.get(one["cut"])) for one in found]
    return Section("Where student and teacher differ most", text, [], [], shown)
