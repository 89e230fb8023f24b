"""What each recipe is worth for keyword spotting, against as many steps without a teacher."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from study import Arm, Study, run

from kd_lightning.metrics.intervals import seeds_and_clusters

# What conf/transfer holds, with the recipe that has no teacher first.
RECIPES = (
    *("none", "logits", "standardised", "mse", "hard_labels", "dkd"),
    *("hints", "hints_multi", "cosine", "attention", "relational", "similarity"),
    *("logits_confident", "logits_correct"),
)

LONG = "stages.distill.trainer.max_epochs=60"  # three times as long, not the 120 epochs of the experiment

ARMS = {recipe: Arm("distill", (f"transfer={recipe}",), taught_by="teacher") for recipe in RECIPES} | {
    "function matching, 60 epochs": Arm(
        "distill", ("experiment=speech_commands_function_matching", LONG), taught_by="teacher"
    ),
    "logits, 60 epochs": Arm("distill", (LONG,), taught_by="teacher"),
    "none, 60 epochs": Arm("distill", ("transfer=none", LONG), taught_by="teacher"),
    "mean teacher": Arm("distill", ("teacher=moving_average",)),
    "earlier copy": Arm("distill", ("teacher=earlier_copy",)),
    "ensemble": Arm("distill", taught_by="teachers"),
    "assistant": Arm("assistant", ("assistant=tc_resnet8",), taught_by="teacher"),
    "logits of the assistant": Arm("distill", taught_by="assistant"),
}

STUDY = Study(
    folder=Path("runs/kws"),
    arms=ARMS,
    groups={
        "recipes": RECIPES,
        "teachers": ("mean teacher", "earlier copy", "ensemble", "assistant", "logits of the assistant"),
        "long": ("function matching, 60 epochs", "logits, 60 epochs", "none, 60 epochs"),
    },
    compared=(
        *((recipe, "none") for recipe in RECIPES[1:]),
        *((arm, "none") for arm in ("mean teacher", "earlier copy", "ensemble", "logits of the assistant")),
        ("ensemble", "logits"),
        ("logits of the assistant", "logits"),
        ("function matching, 60 epochs", "none, 60 epochs"),
        ("function matching, 60 epochs", "logits, 60 epochs"),
        ("logits, 60 epochs", "none, 60 epochs"),
    ),
    fractions=(0.1, 1.0),
)


def plot(path: str) -> None:
    """Points gained over the student without a teacher, with 95 % intervals over seeds and speakers."""
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for offset, fraction in zip((-0.15, 0.15), STUDY.fractions, strict=True):
        scores, speakers = STUDY.scores(fraction)
        places, gains = [], []
        for place, (recipe, none) in enumerate(STUDY.compared):
            common = sorted(scores[recipe].keys() & scores[none].keys())
            if len(common) > 1:
                ours, theirs = ([scores[arm][seed] for seed in common] for arm in (recipe, none))
                places.append(place + offset)
                gains.append(seeds_and_clusters(ours, speakers, theirs))
        middle = [100 * gain.value for gain in gains]
        below = [100 * (gain.value - gain.low) for gain in gains]
        above = [100 * (gain.high - gain.value) for gain in gains]
        axes.errorbar(
            middle, places, xerr=(below, above), fmt="o", capsize=3, label=f"{fraction:.0%} of the labels"
        )
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(STUDY.compared)), [recipe for recipe, _ in STUDY.compared])
    axes.invert_yaxis()
    axes.set_xlabel("points of accuracy gained over the same student without a teacher")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    if sys.argv[1] == "plot":
        plot(sys.argv[2])
    else:
        run(STUDY, sys.argv[1:])
