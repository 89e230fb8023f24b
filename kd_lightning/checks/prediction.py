"""Whether a teacher will pay, before anybody learns from it: what its labels are worth on the student's own curve.

A teacher turns audio without labels into audio with labels of its own quality. Where a share f of the corpus has labels
and the teacher, wrong in e of its answers, labels the other 1 - f, a student learns about as much as from the effective
fraction

    f' = f + (1 - f) (1 - e)^2,

because labels that are right with probability 1 - e and say nothing otherwise are worth (1 - e)^2 as many right ones
(Angluin and Laird, "Learning from Noisy Examples", 1988, whose (1 - 2e)^2 is for two classes; with many classes a wrong
label seldom points to the same one). Distilled, the student is predicted at error(f') (1 + r), and never below the
teacher's own error. r is what a recipe costs or gives beside labels, measured here (``KEYWORD_RECIPES``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np

from kd_lightning.checks.learning_curve import Curves, Floats
from kd_lightning.metrics.intervals import Estimate

# Mean and standard deviation of r. Keyword spotting: thirteen recipes at a tenth of the labels and at all of them, five
# seeds an arm (tests/benchmarks/kws.py); most lie from -2 to +9 %, two with bad weights at +16 and +24 %. Elsewhere:
# what seven recipes of recognition did with a quarter of the transcripts and all (tests/benchmarks/asr.py), from -14 to
# +32 %: what a teacher says of frames also makes a student learn faster, and its sentences alone may teach it less.
KEYWORD_RECIPES = (0.04, 0.06)
OTHER_RECIPES = (0.06, 0.15)
# A teacher that takes away less than this share of the baseline's errors is not worth its training.
WORTH = 0.1


class Verdict(StrEnum):
    """What a prediction comes to."""

    PAYS = "pays"
    DOES_NOT_PAY = "does not pay"
    CANNOT_TELL = "cannot tell"


class Prediction(NamedTuple):
    """What distillation is expected to do, in errors: the mean over seeds with its 95 % interval.

    Attributes:
        baseline: of the student on the labels alone, for as many steps.
        distilled: of the student that the teacher teaches.
        gain: baseline - distilled.
        effective: the fraction of labels that the teacher's are worth.
    """

    baseline: Estimate
    distilled: Estimate
    gain: Estimate
    effective: float

    @property
    def verdict(self) -> Verdict:
        """Pays: surely better than nothing. Does not: surely less than a tenth of the errors."""
        if self.gain.low > 0:
            return Verdict.PAYS
        return Verdict.DOES_NOT_PAY if self.gain.high < WORTH * self.baseline.value else Verdict.CANNOT_TELL


def effective_fraction(labelled: float, mistakes: float) -> float:
    """The labelled fraction that is worth as much as a labelled fraction and a teacher for the rest.

    Args:
        labelled: f.
        mistakes: e, the share of a teacher's answers that are wrong.
    """
    return labelled + (1 - labelled) * (1 - min(mistakes, 1.0)) ** 2


def recipes_of(task: str) -> tuple[float, float]:
    """Mean and standard deviation of r for a task, as far as they were measured."""
    return KEYWORD_RECIPES if task == "keyword" else OTHER_RECIPES


def predict(
    curves: Curves,
    labelled: float,
    teacher_error: float,
    mistakes: float,
    recipes: tuple[float, float] = KEYWORD_RECIPES,
    seed: int = 0,
) -> Prediction:
    """What a teacher is worth.

    Args:
        curves: of the student without a teacher.
        labelled: the fraction of labels that students may see.
        teacher_error: in the metric of the curves.
        mistakes: the share of its answers that are wrong: the same for error rates, and 0 where nothing is right or
            wrong (decibels).
        recipes: mean and standard deviation of r.
        seed: makes the draw repeatable.
    """
    effective = effective_fraction(labelled, mistakes)
    rng = np.random.default_rng(seed)
    beside = 1 + rng.normal(*recipes, len(curves.floor))
    baseline = curves.at(labelled)
    distilled = np.maximum(curves.at(effective) * beside, teacher_error)
    return Prediction(_of(baseline), _of(distilled), _of(baseline - distilled), effective)


def _of(draws: Floats) -> Estimate:
    low, middle, high = np.quantile(draws, [0.025, 0.5, 0.975])
    return Estimate(float(middle), float(low), float(high))
