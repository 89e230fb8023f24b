"""Short trainings of a student at some labelled fractions, and how good its teacher is: what predictions need."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kd_lightning.checks.costs import Costs
from kd_lightning.experiment.build import build_experiment
from kd_lightning.metrics.scores import LOWER_IS_BETTER
from kd_lightning.stages import fit, is_finished, read_metrics

# Error rates: the share of answers that are wrong. Other metrics are distances, in which nothing is right or wrong.
RATES = ("accuracy", "wer", "cer", "error")
# Where the best student makes so large a share of the errors of one that has learnt nothing, it has learnt nothing.
NOT_LEARNT = 0.9


class Plan(NamedTuple):
    """What is trained.

    Attributes:
        fractions: labelled fractions.
        seeds: students at each.
        share: of the epochs of distill, for each of them; of its own, for a teacher that is not there yet.
    """

    fractions: tuple[float, ...]
    seeds: int = 3
    share: float = 0.5

    @classmethod
    def of(cls, words: Mapping[str, Any]) -> Plan:
        """From ``fractions=``, ``seeds=`` and ``proxy=`` of a command line.

        Raises:
            ValueError: fractions that make no curve, or numbers out of range.
        """
        fractions, seeds, share = words["fractions"], words.get("seeds", 3), words.get("proxy", 0.5)
        if not isinstance(fractions, list) or len({*fractions}) < 2:
            raise ValueError(
                f"fractions={fractions}: a curve takes two labelled fractions or more, fractions=[0.1,0.3,1]"
            )
        if not all(isinstance(one, int | float) and 0 < one <= 1 for one in fractions):
            raise ValueError(f"fractions={fractions}: labelled fractions are above 0 and at most 1")
        if not isinstance(seeds, int) or seeds < 2:
            raise ValueError(f"seeds={seeds}: how seeds scatter takes two or more")
        if not isinstance(share, int | float) or not 0 < share <= 1:
            raise ValueError(
                f"proxy={share}: the share of the epochs of distill that each student is trained for"
            )
        return cls(tuple(sorted({float(one) for one in fractions})), seeds, float(share))

    def epochs(self, config: Mapping[str, Any]) -> int:
        """Of a short training in the place of a stage."""
        return max(1, round(self.share * config["trainer"]["max_epochs"]))


def error_of(monitor: str, score: float) -> float:
    """A validation score as an error: what is to be high is taken from 1."""
    return score if monitor.rpartition("/")[2] in LOWER_IS_BETTER else 1 - score


def mistakes(monitor: str, error: float) -> float:
    """The share of answers that are wrong, where a metric counts such."""
    return error if monitor.rpartition("/")[2] in RATES else 0.0


def chance(monitor: str, classes: int) -> float:
    """The error of a network that has learnt nothing."""
    kind = monitor.rpartition("/")[2]
    if kind == "accuracy":
        return 1 - 1 / classes
    return 1.0 if kind in RATES else math.inf


def short(config: dict[str, Any], epochs: int) -> dict[str, Any]:
    """The config of a stage that is trained for so many epochs and leaves nothing behind."""
    quiet = {"max_epochs": epochs, "enable_progress_bar": False, "enable_model_summary": False}
    return config | {
        "trainer": config["trainer"] | quiet,
        "logger": {},
        "callbacks": {},
        "stop_at": None,
        "save_every_steps": 10**9,
    }


def train(config: dict[str, Any], folder: Path) -> tuple[float, int]:
    """Train a stage in a folder of no matter; returns the error of its best weights, and the number of classes."""
    folder.mkdir(parents=True)
    experiment = build_experiment(config, folder)
    fit(experiment, folder)
    assert experiment.best.score is not None
    return error_of(config["monitor"], experiment.best.score), len(experiment.datamodule.classes)


def baselines(
    config_of: Callable[[float, int], dict[str, Any]], plan: Plan, epochs: int, folder: Path
) -> Iterator[tuple[float, int, float]]:
    """Train the students without a teacher.

    Args:
        config_of: the config of the baseline with a labelled fraction and a seed.
        plan: which.
        epochs: of each.
        folder: for what is written.

    Yields:
        fraction, seed, error.

    Raises:
        ValueError: with the last one, if none has learnt anything.
    """
    best, least = math.inf, math.inf
    for seed in range(plan.seeds):
        for fraction in plan.fractions:
            config = short(config_of(fraction, seed), epochs)
            error, classes = train(config, folder / f"{fraction:g}_{seed}")
            best, least = min(best, error), NOT_LEARNT * chance(config["monitor"], classes)
            yield fraction, seed, error
    if best > least:
        raise ValueError(
            f"after {epochs} epochs no student has learnt anything, so there is no curve yet: raise proxy="
        )


def teacher_error(configs: Mapping[str, dict[str, Any]], plan: Plan, folder: Path) -> float:
    """How wrong the teacher is on validation: of its finished run, or of a short one in its place.

    Args:
        configs: of the stages, as the pipeline has them.
        plan: how short.
        folder: for what is written.

    Raises:
        ValueError: nobody can know before the student is trained, or it is measured in another metric.
    """
    distill = configs["distill"]
    runs = _runs_of(distill)
    if "assistant" in configs and not is_finished(runs[0]):
        raise ValueError(
            "fractions=: nobody knows how good the assistant is before it is trained: train it first"
        )
    if "teacher" in configs and not is_finished(runs[0]):
        config = configs["teacher"]
        _require_same(distill["monitor"], config["monitor"])
        return train(short(config, plan.epochs(config)), folder / "teacher")[0]
    errors = []
    for run in runs:
        (key, score), *_ = read_metrics(run)["validation"].items()
        _require_same(distill["monitor"], f"validation/{key}")
        errors.append(error_of(key, score))
    return sum(errors) / len(errors)


def _runs_of(config: dict[str, Any]) -> Sequence[Path]:
    run = (config["teacher"] or {}).get("run")
    if not run:
        raise ValueError(
            "fractions=: a prediction needs a teacher that can be scored: a network to train (teacher=<network>) or "
            "teacher.run=<its finished run>; an average of the student knows no more than the student"
        )
    return [Path(one) for one in (run if isinstance(run, list) else [run])]


def _require_same(student: str, teacher: str) -> None:
    if student != teacher:
        raise ValueError(
            f"fractions=: the student is judged by {student} and the teacher by {teacher}, which do not compare"
        )


def seconds_of(plan: Plan, configs: Mapping[str, dict[str, Any]], costs: Sequence[Costs]) -> float:
    """How long all that will take.

    Args:
        plan: what is trained.
        configs: of the stages.
        costs: of the stages, from a few steps.
    """
    by_stage = {each.stage: each for each in costs}
    seconds = len(plan.fractions) * plan.seeds * by_stage["baseline"].seconds(plan.epochs(configs["distill"]))
    if "teacher" in configs and not is_finished(_runs_of(configs["distill"])[0]):
        seconds += by_stage["teacher"].seconds(plan.epochs(configs["teacher"]))
    return seconds
