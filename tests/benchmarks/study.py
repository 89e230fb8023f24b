"""A study: ways to train one student, over seeds and labelled fractions, compared with intervals.

Every arm is a student with the same initial weights, the same labelled cuts and the same views for its seed. Finished
arms are skipped, so a study can be stopped, spread over processes and read at any time:

    python tests/benchmarks/quality.py train seeds=10 fraction=0.1 arms=main part=0/2   # one of two processes
    python tests/benchmarks/quality.py table
"""

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra import compose, initialize_config_dir

from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.metrics.intervals import Estimate, seeds_and_clusters
from kd_lightning.metrics.word_errors import word_edits

SEEDS = 100

# The values whose mean is the score, and the speaker of each.
Values = tuple[np.ndarray, list[str]]


class Unit(NamedTuple):
    """In what scores are shown.

    Attributes:
        name: of scores.
        difference: what differences of scores are called.
        scale: scores are shown times this.
        digits: after the point.
    """

    name: str
    difference: str
    scale: float
    digits: int


PER_CENT = Unit("%", "points", 100.0, 1)
DECIBELS = Unit("dB", "dB", 1.0, 2)
NUMBER = Unit("", "change", 1.0, 3)


class Measure(NamedTuple):
    """How arms are scored.

    Attributes:
        name: as in a run's metrics.
        of: a run's predictions to values and their speakers; ``None`` where it was not measured.
        beats: whether one mean is better than another.
        unit: in what it is shown.
    """

    name: str
    of: Callable[[list[dict[str, Any]]], Values | None]
    beats: Callable[[float, float], bool]
    unit: Unit = PER_CENT

    def shown(self, estimate: Estimate) -> str:
        value, low, high = (f"{self.unit.scale * each:.{self.unit.digits}f}" for each in estimate)
        return f"{value} [{low}, {high}]"

    def shown_finely(self, score: float) -> str:
        """With a digit more."""
        return f"{self.unit.scale * score:.{self.unit.digits + 1}f}"


def _right(lines: list[dict[str, Any]]) -> Values:
    """Whether each test cut was recognised."""
    recognised = np.array([line["reference"] == line["output"] for line in lines], float)
    return recognised, [line["speaker"] for line in lines]


def _errors_of_words(lines: list[dict[str, Any]]) -> Values:
    """Each word of the references with its utterance's error rate: the mean over words is that of the corpus."""
    edits = word_edits([line["reference"] for line in lines], [line["output"] for line in lines])
    words = [one.reference for one in edits]
    return np.repeat([one.rate for one in edits], words), list(
        np.repeat([line["speaker"] for line in lines], words)
    )


def of_utterances(key: str, beats: Callable[[float, float], bool], unit: Unit) -> Measure:
    """The mean of what was measured of each utterance of a test.

    Args:
        key: of the metric, in the run's and in each line of its predictions.
        beats: whether one mean is better than another.
        unit: in what it is shown.
    """

    def values(lines: list[dict[str, Any]]) -> Values | None:
        if any(key not in line["metrics"] for line in lines):
            return None
        return np.array([line["metrics"][key] for line in lines]), [line["speaker"] for line in lines]

    return Measure(key, values, beats, unit)


ACCURACY = Measure("accuracy", _right, operator.gt)
WORD_ERROR_RATE = Measure("wer", _errors_of_words, operator.lt)
MEL_CEPSTRAL_DISTORTION = of_utterances("mcd", operator.lt, DECIBELS)
ROUND_TRIP = of_utterances("round_trip_cer", operator.lt, PER_CENT)
STFT_DISTANCE = of_utterances("stft_distance", operator.lt, NUMBER)
STOI = of_utterances("stoi", operator.gt, NUMBER)


class Arm(NamedTuple):
    """One way to train the student.

    Attributes:
        stage: which stage's length and labels it takes.
        words: what differs from the experiment.
        start: the arm whose weights it starts from.
        taught_by: an arm, ``"teacher"`` for the seed's own, ``"teachers"`` for all of them together; ``None`` where
            nobody is needed, or where the words say who.
        stored: whether it learns from the seed's stored labels, which all fractions share.
    """

    stage: str
    words: tuple[str, ...] = ()
    start: str | None = None
    taught_by: str | None = None
    stored: bool = False


class Study(NamedTuple):
    """What is compared.

    Attributes:
        folder: of the runs.
        arms: by name.
        groups: names of arms that are trained together.
        compared: pairs of arms, the second taken from the first.
        fractions: labelled fractions.
        teachers: number of teacher seeds; student seed s learns from teacher s modulo this.
        words: what differs from the experiment in every stage, the teacher's too.
        measure: what is compared.
        beside: what else is shown, of runs where it was measured.
        labels: what differs where a seed's labels are stored: a recipe that reads all that the arms read.
    """

    folder: Path
    arms: Mapping[str, Arm]
    groups: Mapping[str, Sequence[str]]
    compared: Sequence[tuple[str, str]]
    fractions: Sequence[float]
    teachers: int = 2
    words: Sequence[str] = ()
    measure: Measure = ACCURACY
    labels: Sequence[str] = ()
    beside: Sequence[Measure] = ()

    def arm_folder(self, fraction: float, seed: int, arm: str) -> Path:
        name = re.sub(r"[,']", "", arm).replace(" ", "_")
        return self.folder / f"labels{fraction:g}" / f"seed{seed}" / name

    def labels_folder(self, seed: int) -> Path:
        return self.folder / "labels" / f"seed{seed}"

    def teacher_folder(self, number: int) -> Path:
        return self.folder / f"teacher{number}"

    def config(self, stage: str, folder: Path, *words: str) -> dict[str, Any]:
        quiet = ("logger=csv", "callbacks=none", "trainer.enable_progress_bar=false")
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            config = compose("config", overrides=[*quiet, f"folder={folder}", *self.words, *words])
        return stage_config(Request(config), stage)

    def plan(self, fraction: float, group: str, seeds: range) -> Iterator[tuple[dict[str, Any], Path | None]]:
        """Configs in an order in which stopping early leaves whole seeds, each a stage or labels for a folder."""
        for seed in seeds:
            teacher = seed % self.teachers
            yield self.config("teacher", self.teacher_folder(teacher), f"seed={teacher}"), None
            arms = {name: self.arms[name] for name in self.groups[group]}
            if any(arm.stored for arm in arms.values()):
                taught = f"teacher.run={self.teacher_folder(teacher)}"
                config = self.config(
                    "distill", self.labels_folder(seed), f"seed={seed}", taught, *self.labels
                )
                yield config, self.labels_folder(seed)
            for name, arm in arms.items():
                words = [f"seed={seed}", f"corpus.labelled_fraction={fraction}", *arm.words]
                if arm.taught_by is not None:
                    words.append(f"teacher.run={self.teaching(fraction, seed, arm.taught_by)}")
                if arm.start is not None:
                    words.append(f"student.run={self.arm_folder(fraction, seed, arm.start)}")
                if arm.stored:
                    words.append(f"teacher.stored={self.labels_folder(seed)}")
                yield self.config(arm.stage, self.arm_folder(fraction, seed, name), *words), None

    def teaching(self, fraction: float, seed: int, arm: str) -> str:
        """What ``teacher.run`` takes."""
        if arm == "teachers":
            return f"[{','.join(str(self.teacher_folder(number)) for number in range(self.teachers))}]"
        own = self.teacher_folder(seed % self.teachers)
        return str(own if arm == "teacher" else self.arm_folder(fraction, seed, arm))

    def train(self, fraction: str, arms: str, seeds: str = "10", part: str = "0/1", **further: str) -> None:
        """Train the arms of a group that are not finished; ``part=0/2`` takes every second seed.

        What is given ``further`` is for every stage, such as ``recogniser=runs/common_voice/teacher``.
        """
        from kd_lightning.labelling import run_label
        from kd_lightning.stages import run_stage

        first, parts = (int(word) for word in part.split("/"))
        study = self._replace(words=(*self.words, *(f"{key}={value}" for key, value in further.items())))
        for config, labels in study.plan(float(fraction), arms, range(first, int(seeds), parts)):
            if labels is not None:
                run_label(config, labels)
                continue
            metrics = run_stage(config)
            score, seconds = metrics["metrics"][self.measure.name], metrics["train_seconds"]
            print(f"{config['folder']} {score:.4f} {seconds:.0f} s", flush=True)

    def scores(
        self, fraction: float, measure: Measure | None = None
    ) -> tuple[dict[str, dict[int, np.ndarray]], list[str]]:
        """The values of a measure by arm and seed, for what has finished; and their speakers."""
        scores: dict[str, dict[int, np.ndarray]] = {name: {} for name in self.arms}
        speakers: list[str] = []
        for name in self.arms:
            for seed in range(SEEDS):
                if (read := self.read(self.arm_folder(fraction, seed, name), measure)) is not None:
                    scores[name][seed], speakers = read
        return scores, speakers

    def read(self, folder: Path, measure: Measure | None = None) -> Values | None:
        """The values of a measure and their speakers; ``None`` for a run that has not finished, or not measured it."""
        if not (folder / "metrics.json").is_file():
            return None
        lines = (folder / "predictions.jsonl").read_text().splitlines()
        return (measure or self.measure).of([json.loads(line) for line in lines])

    def table(self) -> Iterator[str]:
        """Markdown: the arms and the differences between them, in the unit of each measure, with 95 % intervals."""
        for seed in range(self.teachers):
            if shown := [*self.teacher_scores(seed)]:
                yield f"teacher, seed {seed}: {', '.join(shown)}"
        for fraction in self.fractions:
            for measure in (self.measure, *self.beside):
                scores, speakers = self.scores(fraction, measure)
                if any(scores.values()):
                    if measure is self.measure:
                        yield from ("", f"## labelled fraction {fraction:g}")
                    yield ""
                    yield from arm_rows(scores, speakers, measure)
                    yield ""
                    yield from difference_rows(scores, speakers, self.compared, measure)

    def teacher_scores(self, seed: int) -> Iterator[str]:
        """What was measured of a teacher; the main measure needs no name."""
        for measure in (self.measure, *self.beside):
            if (read := self.read(self.teacher_folder(seed), measure)) is not None:
                name = "" if measure is self.measure else measure.name
                yield f"{name} {measure.shown_finely(read[0].mean())} {measure.unit.name}".strip()


def arm_rows(
    scores: Mapping[str, Mapping[int, np.ndarray]], speakers: list[str], measure: Measure
) -> Iterator[str]:
    yield f"| arm | seeds | {f'{measure.name} {measure.unit.name}'.strip()} | sd over seeds |"
    yield "|---|---:|---:|---:|"
    for name, by_seed in scores.items():
        if len(by_seed) > 1:
            estimate = seeds_and_clusters(list(by_seed.values()), speakers)
            spread = np.std([score.mean() for score in by_seed.values()], ddof=1)
            yield f"| {name} | {len(by_seed)} | {measure.shown(estimate)} | {measure.shown_finely(spread)} |"


def difference_rows(
    scores: Mapping[str, Mapping[int, np.ndarray]],
    speakers: list[str],
    compared: Sequence[tuple[str, str]],
    measure: Measure,
) -> Iterator[str]:
    yield f"| difference | seeds | {measure.unit.difference} | seeds won |"
    yield "|---|---:|---:|---:|"
    for one, other in compared:
        common = sorted(scores[one].keys() & scores[other].keys())
        if len(common) > 1:
            ours, theirs = ([scores[arm][seed] for seed in common] for arm in (one, other))
            won = sum(measure.beats(a.mean(), b.mean()) for a, b in zip(ours, theirs, strict=True))
            gain = seeds_and_clusters(ours, speakers, theirs)
            yield f"| {one} - {other} | {len(common)} | {measure.shown(gain)} | {won} |"


def run(study: Study, words: Sequence[str]) -> None:
    """The command line of a study: ``train key=value ...`` or ``table``."""
    task, *rest = words
    if task == "train":
        study.train(**dict(word.split("=", 1) for word in rest))
    else:
        print("\n".join(study.table()))
