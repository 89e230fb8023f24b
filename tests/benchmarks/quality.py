"""What distillation is worth on the embedded corpus, with few labels and with all: ten students, two teachers."""

import sys
from pathlib import Path

from study import Arm, Study, run

STUDY = Study(
    folder=Path("runs/quality"),
    arms={
        "baseline": Arm("baseline"),
        "distill": Arm("distill", taught_by="teacher"),
        "finetune": Arm("finetune", start="distill"),
        "none, distill's steps": Arm("distill", ("transfer=none",), taught_by="teacher"),
        "baseline, smoothed labels": Arm("baseline", ("distiller.terms.labels.loss.smoothing=0.1",)),
        "pseudo-labels": Arm("distill", ("transfer=hard_labels",), taught_by="teacher"),
        "pseudo-labels, finetuned": Arm("finetune", start="pseudo-labels"),
    },
    groups={
        "main": ("baseline", "distill", "finetune", "none, distill's steps"),
        "controls": ("baseline, smoothed labels", "pseudo-labels", "pseudo-labels, finetuned"),
    },
    compared=(
        ("finetune", "baseline"),
        ("distill", "none, distill's steps"),
        ("finetune", "baseline, smoothed labels"),
        ("finetune", "pseudo-labels, finetuned"),
    ),
    fractions=(0.1, 0.3, 1.0),
)

if __name__ == "__main__":
    run(STUDY, sys.argv[1:])
