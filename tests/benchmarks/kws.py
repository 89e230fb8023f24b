"""What each recipe is worth for keyword spotting, against as many steps without a teacher."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from study import Arm, Study, run

from kd_lightning.metrics.intervals import Estimate, seeds_and_clusters

# What conf/transfer holds, with the recipe that has no teacher first.
RECIPES = (
    *("none", "logits", "standardised", "mse", "hard_labels", "dkd"),
    *("hints", "hints_multi", "cosine", "attention", "relational", "similarity"),
    *("logits_confident", "logits_correct"),
)

LONG = "stages.distill.trainer.max_epochs=40"  # twice as long, not the 120 epochs of the experiment

# The same recipes with other weights.
WEIGHTS = {
    "hints, 2": ("transfer=hints", "transfer.weights.hint.start=2.0"),
    "attention, 10": ("transfer=attention", "transfer.weights.attention=10"),
    "similarity, 10": ("transfer=similarity", "transfer.weights.similarity=10"),
    "standardised, 2": ("transfer=standardised", "transfer.weights.soft_targets=2"),
    "mse, 1": ("transfer=mse", "transfer.weights.outputs=1.0"),
    "dkd, beta 8": ("transfer=dkd", "transfer.terms.decoupled.loss.beta=8"),
}

ARMS = {recipe: Arm("distill", (f"transfer={recipe}",), taught_by="teacher") for recipe in RECIPES} | {
    "function matching, 40 epochs": Arm(
        "distill", ("experiment=speech_commands_function_matching", LONG), taught_by="teacher"
    ),
    "logits, 40 epochs": Arm("distill", (LONG,), taught_by="teacher"),
    "none, 40 epochs": Arm("distill", ("transfer=none", LONG), taught_by="teacher"),
    "mean teacher": Arm("distill", ("teacher=moving_average",)),
    "earlier copy": Arm("distill", ("teacher=earlier_copy",)),
    "ensemble": Arm("distill", taught_by="teachers"),
    "assistant": Arm("assistant", ("assistant=tc_resnet8",), taught_by="teacher"),
    "logits of the assistant": Arm("distill", taught_by="assistant"),
}
ARMS |= {name: Arm("distill", words, taught_by="teacher") for name, words in WEIGHTS.items()}

STUDY = Study(
    folder=Path("runs/kws"),
    arms=ARMS,
    groups={
        "recipes": RECIPES,
        "weights": tuple(WEIGHTS),
        "teachers": ("mean teacher", "earlier copy", "ensemble", "assistant", "logits of the assistant"),
        "long": ("function matching, 40 epochs", "logits, 40 epochs", "none, 40 epochs"),
    },
    compared=(
        *((recipe, "none") for recipe in RECIPES[1:]),
        *((name, "none") for name in WEIGHTS),
        *((arm, "none") for arm in ("mean teacher", "earlier copy", "ensemble", "logits of the assistant")),
        ("ensemble", "logits"),
        ("logits of the assistant", "logits"),
        ("function matching, 40 epochs", "none, 40 epochs"),
        ("function matching, 40 epochs", "logits, 40 epochs"),
        ("logits, 40 epochs", "none, 40 epochs"),
    ),
    fractions=(0.1, 1.0),
)


def gains(fraction: float) -> dict[str, Estimate]:
    """Accuracy gained over as many steps without a teacher by arm, of those that two seeds have finished."""
    scores, speakers = STUDY.scores(fraction)
    found = {}
    for arm, none in STUDY.compared:
        common = sorted(scores[arm].keys() & scores[none].keys())
        if none.startswith("none") and len(common) > 1:
            ours, theirs = ([scores[name][seed] for seed in common] for name in (arm, none))
            found[arm] = seeds_and_clusters(ours, speakers, theirs)
    return found


def plot(path: str) -> None:
    """Points gained by each arm, with 95 % intervals over seeds and speakers."""
    by_fraction = {fraction: gains(fraction) for fraction in STUDY.fractions}
    arms = [arm for arm, _ in STUDY.compared if any(arm in found for found in by_fraction.values())]
    rows = {arm: row for row, arm in enumerate(dict.fromkeys(arms))}
    figure, axes = plt.subplots(figsize=(7, 1 + 0.3 * len(rows)), layout="constrained")
    for offset, (fraction, found) in zip((-0.15, 0.15), by_fraction.items(), strict=True):
        middle = [100 * gain.value for gain in found.values()]
        below = [100 * (gain.value - gain.low) for gain in found.values()]
        above = [100 * (gain.high - gain.value) for gain in found.values()]
        places = [rows[arm] + offset for arm in found]
        label = f"{fraction:.0%} of the labels"
        axes.errorbar(middle, places, xerr=(below, above), fmt="o", capsize=3, label=label)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(list(rows.values()), list(rows))
    axes.invert_yaxis()
    axes.set_xlabel("points of accuracy gained over the same student without a teacher")
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    if sys.argv[1] == "plot":
        plot(sys.argv[2])
    else:
        run(STUDY, sys.argv[1:])
