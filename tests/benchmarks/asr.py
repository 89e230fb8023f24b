"""What each recipe is worth for recognition, with a quarter of the transcripts and with all of them."""

import sys
from pathlib import Path

from study import WORD_ERROR_RATE, Arm, Study, run

# Stored labels are of so many views, and nobody sees others.
VIEWS = "corpus.views=8"
# Half as long as in the experiment: ninety students in three hours of two cores.
LENGTH = "stages.distill.trainer.max_epochs=10"


def taught(transfer: str) -> Arm:
    return Arm("distill", (VIEWS, f"transfer={transfer}"), taught_by="teacher", stored=True)


STUDY = Study(
    folder=Path("runs/asr"),
    arms={
        "baseline": Arm("baseline", (VIEWS,)),
        "consistency": Arm("baseline", (VIEWS, "distiller=recognition_consistency")),
        "frames": taught("ctc_frames"),
        "non-blank frames": taught("ctc_non_blank"),
        "symmetric frames": taught("ctc_symmetric"),
        "hypotheses": taught("sequence"),
        "hypotheses and frames": taught("sequence_frames"),
        "hypotheses and frames, finetuned": Arm("finetune", (VIEWS,), start="hypotheses and frames"),
        # Activations take too much room to be stored.
        "frames and hints": Arm("distill", (VIEWS, "transfer=ctc_hints"), taught_by="teacher"),
    },
    groups={
        "main": (
            *("baseline", "frames", "hypotheses", "hypotheses and frames"),
            *("hypotheses and frames, finetuned", "consistency"),
        ),
        "frames": ("symmetric frames", "non-blank frames", "frames and hints"),
    },
    compared=(
        *((arm, "baseline") for arm in ("consistency", "frames", "non-blank frames", "symmetric frames")),
        *((arm, "baseline") for arm in ("frames and hints", "hypotheses", "hypotheses and frames")),
        ("hypotheses and frames, finetuned", "baseline"),
        ("hypotheses and frames, finetuned", "consistency"),
        ("hypotheses and frames", "hypotheses"),
    ),
    fractions=(0.25, 1.0),
    words=("experiment=common_voice", LENGTH),
    measure=WORD_ERROR_RATE,
    labels=(VIEWS, "transfer=sequence_frames"),
)

if __name__ == "__main__":
    run(STUDY, sys.argv[1:])
