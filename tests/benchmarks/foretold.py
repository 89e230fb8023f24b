"""What the doctor would have predicted of finished studies, beside what happened, on their test sets:

    python tests/benchmarks/foretold.py                                   # runs/quality and runs/asr
    python tests/benchmarks/foretold.py quality=/studies/quality asr=/studies/asr

The curve is of the students without a teacher; those with one are never looked at for the prediction. All of it uses
the spread of keyword recipes, which was measured in another study (kws.py).
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import asr
import numpy as np
import quality
from study import SEEDS, Study

from kd_lightning.checks.learning_curve import fit
from kd_lightning.checks.prediction import predict
from kd_lightning.metrics.intervals import seed_difference

# By study: whether a score is a share that is right, the students without a teacher, and those with one.
STUDIES = {
    "quality": (quality.STUDY, True, "none, distill's steps", ("distill", "pseudo-labels")),
    "asr": (
        asr.STUDY,
        False,
        "baseline",
        ("hypotheses and frames, finetuned", "hypotheses and frames", "hypotheses", "frames"),
    ),
}


def errors(study: Study, right: bool, fraction: float, arm: str) -> list[float]:
    """The test errors of an arm, one a finished seed."""
    read = (study.read(study.arm_folder(fraction, seed, arm)) for seed in range(SEEDS))
    means = [float(values[0].mean()) for values in read if values is not None]
    return [1 - mean if right else mean for mean in means]


def rows(study: Study, right: bool, alone: str, taught: tuple[str, ...]) -> Iterator[str]:
    """A line for each arm with a teacher, at each labelled fraction."""
    known = {one: found for one in study.fractions if len(found := errors(study, right, one, alone)) > 1}
    if len(known) < 2:
        return
    teachers = [study.read(study.teacher_folder(number)) for number in range(study.teachers)]
    teacher = float(np.mean([read[0].mean() for read in teachers if read is not None]))
    teacher = 1 - teacher if right else teacher
    curves = fit(known)
    for fraction in known:
        found = predict(curves, fraction, teacher, teacher)
        for arm in taught:
            if len(own := errors(study, right, fraction, arm)) < 2:
                continue
            gain = seed_difference(known[fraction], own, paired=False)
            inside = "yes" if found.gain.low <= gain.value <= found.gain.high else "**no**"
            cells = (arm, f"{fraction:g}", shown(found.gain), found.verdict, shown(gain), len(own), inside)
            yield f"| {' | '.join(map(str, cells))} |"


def shown(estimate: tuple[float, float, float]) -> str:
    value, low, high = (f"{100 * one:+.1f}" for one in estimate)
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    folders = dict(word.split("=", 1) for word in sys.argv[1:])
    for name, (study, *settings) in STUDIES.items():
        print(f"\n{name}\n\n| arm | labels | predicted | verdict | measured | seeds | inside |")
        print("|---|---:|---:|---|---:|---:|---|")
        print("\n".join(rows(study._replace(folder=Path(folders.get(name, study.folder))), *settings)))
