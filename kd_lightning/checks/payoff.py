"""Predict whether a teacher pays: train short baselines, fit their curve, say what a teacher is worth on it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.console import Console

from kd_lightning.checks.costs import Costs, in_time
from kd_lightning.checks.learning_curve import fit
from kd_lightning.checks.prediction import Prediction, Verdict, predict, recipes_of
from kd_lightning.checks.proxies import Plan, baselines, mistakes, seconds_of, teacher_error
from kd_lightning.experiment.compose import Request, stage_config
from kd_lightning.reports.formats import Unit
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.table import Table
from kd_lightning.reports.terminal import rich_table


def predict_payoff(
    request: Request,
    configs: Mapping[str, dict[str, Any]],
    costs: Sequence[Costs],
    plan: Plan,
    console: Console,
) -> Prediction:
    """Train, fit, predict and print.

    Args:
        request: what the command line asked for.
        configs: of the stages, as the pipeline has them.
        costs: of the stages, from a few steps.
        plan: which students to train.
        console: where to print.

    Raises:
        ValueError: no teacher that can be scored, or students that have not learnt anything.
    """
    distill = configs["distill"]
    epochs = plan.epochs(distill)
    count = len(plan.fractions) * plan.seeds
    console.print(
        f"Training {count} students without a teacher for {epochs} of {distill['trainer']['max_epochs']} epochs, at "
        f"the labelled fractions {', '.join(f'{one:g}' for one in plan.fractions)}: about "
        f"{in_time(seconds_of(plan, configs, costs))}"
    )

    aligner = configs["baseline"]["aligner"]

    def config_of(fraction: float, seed: int) -> dict[str, Any]:
        return stage_config(
            request, "baseline", seed=seed, corpus__labelled_fraction=fraction, aligner=aligner
        )

    unit, errors = task_of(distill["task"]).main, dict[float, list[float]]()
    with tempfile.TemporaryDirectory(prefix="kd_doctor_") as folder:
        taught_by = teacher_error(configs, plan, Path(folder))
        for fraction, seed, error in baselines(config_of, plan, epochs, Path(folder)):
            errors.setdefault(fraction, []).append(error)
            console.print(f"  labelled fraction {fraction:g}, seed {seed}: {unit.written(error)} {unit.name}")
    labelled = float(distill["corpus"]["labelled_fraction"])
    wrong, recipes = mistakes(distill["monitor"], taught_by), recipes_of(distill["task"])
    prediction = predict(fit(errors), labelled, taught_by, wrong, recipes)
    console.print(rich_table(errors_table(errors, unit)))
    for line in sentences(prediction, labelled, taught_by, unit, plan.share):
        console.print(line)
    if plan.share < 1:
        console.print(
            f"All this is after {epochs} epochs, when labels count for less than at the end of distill: proxy=1 trains "
            "for as long."
        )
    return prediction


def errors_table(errors: Mapping[float, Sequence[float]], unit: Unit) -> Table:
    """The students that were trained."""
    rows = [
        [f"{fraction:g}", str(len(seeds)), unit.written(mean(seeds)), unit.written(stdev(seeds))]
        for fraction, seeds in sorted(errors.items())
    ]
    return Table(
        "Students without a teacher, on validation",
        ["labelled fraction", "seeds", f"error {unit.name}", "deviation"],
        rows,
    )


def sentences(
    prediction: Prediction, labelled: float, taught_by: float, unit: Unit, share: float = 1.0
) -> list[str]:
    """What is predicted, in words.

    A student that trains for a short time has not come to where labels matter (after a quarter of distill, ten times as
    many of them changed nothing for keyword spotting), so what does not pay then may pay in the end.

    Args:
        prediction: of the errors.
        labelled: the fraction of labels that students may see.
        taught_by: error of the teacher.
        unit: of all these.
        share: of the epochs of distill, for which the students were trained.
    """
    baseline, distilled, gain, effective = prediction
    verdict = prediction.verdict
    if share < 1 and verdict is Verdict.DOES_NOT_PAY:
        verdict = Verdict.CANNOT_TELL
    return [
        f"With labels on {labelled:g} of the audio and a teacher whose error is {unit.written(taught_by)} {unit.name}, "
        f"the student learns as from labels on {effective:.2f}: its error is predicted to go from "
        f"{unit.written(baseline.value)} to {unit.written(distilled.value, distilled[1:])} {unit.name}.",
        f"Predicted gain of distill over the baseline: {unit.signed(gain.value, gain[1:])} {unit.differences} (95 %): "
        f"a teacher {_VERDICTS[verdict]}.",
    ]


_VERDICTS = {
    Verdict.PAYS: "pays",
    Verdict.DOES_NOT_PAY: "does not pay: it surely takes away less than a tenth of the errors",
    Verdict.CANNOT_TELL: "may or may not pay: more seeds, longer students (proxy=) or fractions around the "
    "labelled one would tell more",
}
