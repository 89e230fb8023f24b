"""Tasks whose outputs are neither right nor wrong: each utterance has measures, and their means are compared."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_lightning.metrics.intervals import Estimate, gap_recovered, interval, paired_difference
from kd_lightning.metrics.scores import FEWEST_SPEAKERS
from kd_lightning.reports.aligned import Aligned
from kd_lightning.reports.formats import DECIBELS, UNKNOWN, Unit, count, plain, seconds, shortened
from kd_lightning.reports.groups import lost_pair, means, quarters
from kd_lightning.reports.html import Section, plot
from kd_lightning.reports.listening import listen
from kd_lightning.reports.plots import shares_below
from kd_lightning.reports.runs import Predictions, Run, number, text, texts
from kd_lightning.reports.table import Table
from kd_lightning.reports.task import Scores, Task, Texts, last_student

Floats = NDArray[np.float64]

# What the stages have to share, beside the test set, for their measures to compare.
_MEASURED_BY = {
    "vocoder": "speak through the same vocoder",
    "recogniser": "have the same recogniser listening",
}


class Measure(NamedTuple):
    """A metric of an utterance: its key, its name in a table, and what it is shown in."""

    key: str
    called: str
    unit: Unit


MCD = Measure("mcd", "MCD", DECIBELS)


class Measured(Task[Floats]):
    """Mel-cepstral distortion decides, the lower the better; other measures stand beside it.

    ``predictions.jsonl`` has the measures of each utterance under ``metrics``. Of fewer than five speakers intervals
    are over utterances: a voice or two are what was synthesised, not a sample of voices.

    Attributes:
        measures: those that are shown, by the title of their table; the first table is that of quality. One that no
            stage has is left out.
        captions: of those tables.
    """

    metric = MCD.key
    called = MCD.called
    labels = "recordings"
    macs = ("MACs / s", "macs_per_second")
    parts: ClassVar[tuple[str, ...]] = ("worst", "speakers", "lengths")
    measures: ClassVar[Mapping[str, tuple[Measure, ...]]]
    captions: ClassVar[Mapping[str, str]]

    def unit(self, key: str) -> Unit:
        found = {one.key: one.unit for measures in self.measures.values() for one in measures}
        return found.get(key) or super().unit(key)

    # What is counted

    def outcomes(self, aligned: Aligned, stage: str) -> Floats:
        nothing = np.full(len(aligned.cuts), np.nan)
        return aligned.measured[stage].get(self.metric, nothing)

    def scores(self, predictions: Predictions) -> Scores:
        metrics, intervals = {}, {}
        for key, values in predictions.measured.items():
            known = np.isfinite(values)
            metrics[key] = float(values[known].mean())
            intervals[key] = list(interval(values[known], _clusters(predictions.speakers[known])))
        return Scores(metrics, intervals)

    def difference(self, one: Floats, other: Floats, speakers: Texts) -> Estimate:
        known = np.isfinite(one) & np.isfinite(other)
        if not known.any():
            return Estimate(np.nan, np.nan, np.nan)
        return paired_difference(one[known], other[known], _clusters(speakers[known]))

    def gap_recovered(
        self, student: Floats, baseline: Floats, teacher: Floats, speakers: Texts
    ) -> Estimate | None:
        known = np.isfinite(student) & np.isfinite(baseline) & np.isfinite(teacher)
        if not known.any():
            return None
        # Turned round, so that more is better.
        return gap_recovered(-student[known], -baseline[known], -teacher[known], _clusters(speakers[known]))

    def agreement(self, outputs: Texts, teacher: Texts, speakers: Texts) -> Scores:
        """Nothing: two networks never say the same samples."""
        return Scores({}, {})

    def corpus(self, run: Run) -> dict[str, Any]:
        length = float(run.predictions.seconds.sum())
        return {
            "tokens": len(texts(run.config.get("classes"))) or None,
            "test_seconds": length if np.isfinite(length) else None,
        }

    def details(self, aligned: Aligned, outcomes: Mapping[str, Floats]) -> dict[str, Any]:
        judged = last_student(outcomes) or next(reversed(list(outcomes)))
        return {
            "worst": _worst(aligned, outcomes, judged),
            "speakers": _by_speaker(aligned, outcomes, judged, self.metric),
            "lengths": _by_length(aligned, outcomes, self.metric),
        }

    def notes(self, runs: Mapping[str, Run]) -> list[str]:
        notes = [
            f"{stage}: predictions.jsonl says no {self.called} of any cut: evaluate it again"
            for stage, run in runs.items()
            if self.metric not in run.predictions.measured
        ]
        speakers = {name for run in runs.values() for name in run.predictions.speakers}
        if 1 < len(speakers) < FEWEST_SPEAKERS:
            notes.append(
                f"The test cuts are of {len(speakers)} speakers: the intervals are over cuts, not over speakers."
            )
        for key, same in _MEASURED_BY.items():
            found = {stage: text(run.results, key) or "none" for stage, run in runs.items()}
            if len(set(found.values())) > 1:
                listed = ", ".join(f"{stage} {name}" for stage, name in found.items())
                notes.append(f"The stages do not {same} ({listed}): evaluate them with one.")
        return notes

    def resampled(self, speakers: int) -> str:
        return "speakers" if speakers >= FEWEST_SPEAKERS else "utterances"

    # What is shown

    def inventory(self, corpus: Mapping[str, Any]) -> list[str]:
        tokens = [f"{count(corpus['tokens'])} tokens"] if corpus["tokens"] else []
        length = corpus["test_seconds"]
        return tokens + ([f"{seconds(length)} of test recordings"] if length is not None else [])

    def quality(self, comparison: Mapping[str, Any]) -> Table:
        return self._tables(comparison)[0]

    def further_quality(self, comparison: Mapping[str, Any]) -> list[Table]:
        return self._tables(comparison)[1:]

    def sentences(self, comparison: Mapping[str, Any]) -> list[str]:
        return []

    def sections(self, comparison: Mapping[str, Any], runs: Mapping[str, Run]) -> list[Section]:
        spread = plot(
            f"{self.metric}_utterances",
            f"Share of the test utterances with a lower {self.called}, a curve a stage; further left is better.",
            lambda theme: shares_below(
                {
                    stage: run.predictions.measured.get(self.metric, np.array([]))
                    for stage, run in runs.items()
                },
                self.main.head(self.called),
                theme,
            ),
        )
        name = self.main.head(self.called)
        groups = [
            self._group_table(comparison, part, head, title)
            for part, head, title in (
                ("lengths", "length", f"{name} by length of the recording"),
                ("speakers", "speaker", f"{name} by speaker"),
            )
            if comparison[part]
        ]
        worst = [self._worst_table(comparison)] if comparison["worst"] else []
        return [
            *listen(runs, self.metric, self.main),
            *([Section("Where the student is far from the recordings", [], groups, [])] if groups else []),
            Section("Utterance by utterance", [], worst, [spread]),
        ]

    def printed(self, comparison: Mapping[str, Any]) -> list[Table]:
        return []

    def _tables(self, comparison: Mapping[str, Any]) -> list[Table]:
        """The tables of measures: that of quality, and those of which some stage has something."""
        resampled = self.resampled(comparison["corpus"]["test_speakers"])
        tables: list[Table] = []
        for title, measures in self.measures.items():
            there = [one for one in measures if any(one.key in row["metrics"] for row in comparison["rows"])]
            first = not tables
            if not there and not first:
                continue
            there = there or [measures[0]]
            tables.append(
                Table(
                    title,
                    [
                        "stage",
                        *(["network"] if first else []),
                        *(f"{one.unit.head(one.called)} [95 %]" for one in there),
                    ],
                    [
                        [
                            row["stage"],
                            *([plain(row["network"] or UNKNOWN)] if first else []),
                            *(
                                one.unit.written(row["metrics"].get(one.key), row["intervals"].get(one.key))
                                for one in there
                            ),
                        ]
                        for row in comparison["rows"]
                    ],
                    f"{self.captions[title]} Means over utterances; intervals are bootstrapped over {resampled}.",
                )
            )
        return tables

    def _group_table(self, comparison: Mapping[str, Any], part: str, head: str, title: str) -> Table:
        stages = [row["stage"] for row in comparison["rows"]]
        pair = lost_pair(stages)
        rows = []
        for group in comparison[part]:
            values = group[self.metric]
            row = [
                shortened(group[head]),
                count(group["cuts"]),
                *(self.main.written(values.get(stage)) for stage in stages),
            ]
            if pair:
                known = None not in (values.get(pair[0]), values.get(pair[1]))
                row.append(self.main.signed(values[pair[0]] - values[pair[1]] if known else None))
            rows.append(row)
        lost = [f"{pair[0]} - {pair[1]}"] if pair else []
        return Table(title, [head, "cuts", *stages, *lost], rows, "Means over utterances.")

    def _worst_table(self, comparison: Mapping[str, Any]) -> Table:
        stages = [row["stage"] for row in comparison["rows"]]
        return Table(
            f"Highest {self.main.head(self.called)}",
            ["utterance", "speaker", "seconds", *stages],
            [
                [
                    shortened(one["reference"] or one["cut"], 48),
                    shortened(one["speaker"], 12),
                    UNKNOWN if one["seconds"] is None else f"{one['seconds']:.1f}",
                    *(self.main.written(one["outcomes"].get(stage)) for stage in stages),
                ]
                for one in comparison["worst"]
            ],
            "Those in which the last student is furthest from the recording.",
        )


def _clusters(speakers: Texts) -> Texts:
    """What is resampled together: speakers, or each utterance for itself where speakers are few."""
    if len(set(speakers)) >= FEWEST_SPEAKERS:
        return speakers
    return np.array([str(place) for place in range(len(speakers))], dtype=object)


def _by_length(aligned: Aligned, outcomes: Mapping[str, Floats], metric: str) -> list[dict[str, Any]]:
    """Means of the quarters of the test set by length; empty where all are of one length."""
    names, of_cuts = quarters(aligned)
    groups = means(of_cuts, outcomes, metric)
    return [{"length": name, **groups[name]} for name in names if name in groups] if len(groups) > 1 else []


def _by_speaker(
    aligned: Aligned, outcomes: Mapping[str, Floats], judged: str, metric: str, most: int = 20
) -> list[dict[str, Any]]:
    """Means of the speakers whom a network is furthest from; empty where there is one."""
    groups = means(aligned.speakers, outcomes, metric)
    rows = [{"speaker": speaker, **group} for speaker, group in groups.items()]
    rows.sort(key=lambda row: (-np.nan_to_num(row[metric][judged], nan=-np.inf), row["speaker"]))
    return rows[:most] if len(rows) > 1 else []


def _worst(
    aligned: Aligned, outcomes: Mapping[str, Floats], judged: str, most: int = 10
) -> list[dict[str, Any]]:
    """The utterances in which a stage is furthest from the recording."""
    order = np.argsort(-outcomes[judged], kind="stable")  # NaN comes last
    return [
        {
            "cut": aligned.cuts[place],
            "reference": aligned.references[place],
            "speaker": aligned.speakers[place],
            "seconds": number({"": float(aligned.seconds[place])}, ""),
            "outcomes": {stage: float(values[place]) for stage, values in outcomes.items()},
        }
        for place in order[:most]
        if np.isfinite(outcomes[judged][place])
    ]
