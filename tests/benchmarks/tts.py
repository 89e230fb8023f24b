"""What a teacher is worth for a student that reads texts aloud, with a minute of recordings.

With ``recogniser=<run>`` the table has the round-trip character error rate too:

    python tests/benchmarks/tts.py train seeds=5 fraction=0.05 arms=main recogniser=runs/common_voice/teacher
"""

import sys
from pathlib import Path

from study import MEL_CEPSTRAL_DISTORTION, ROUND_TRIP, Arm, Study, run


def taught(*words: str) -> Arm:
    return Arm("distill", ("transfer=taught_mels", *words), taught_by="teacher", stored=True)


STUDY = Study(
    folder=Path("runs/tts"),
    arms={
        "baseline": Arm("baseline"),
        "taught mels": taught(),
        "taught mels, finetuned": Arm("finetune", start="taught mels"),
        "none, distill's steps": Arm("distill", ("transfer=none",), taught_by="teacher"),
        # Where there is a recording, the teacher is followed in no step, or in all of them.
        "taught mels, share 0": taught("distiller.taught_share=0.0"),
        "taught mels, share 1": taught("distiller.taught_share=1.0"),
    },
    groups={
        "main": ("baseline", "taught mels", "taught mels, finetuned"),
        "controls": ("none, distill's steps", "taught mels, share 0", "taught mels, share 1"),
    },
    compared=(
        ("taught mels, finetuned", "baseline"),
        ("taught mels", "baseline"),
        ("taught mels", "none, distill's steps"),
        ("taught mels, share 0", "taught mels"),
        ("taught mels, share 1", "taught mels"),
    ),
    fractions=(0.05, 0.25),
    words=("experiment=libritts_tts", "callbacks.speech.every_epochs=0"),
    measure=MEL_CEPSTRAL_DISTORTION,
    labels=("transfer=taught_mels",),
    beside=(ROUND_TRIP,),
)

if __name__ == "__main__":
    run(STUDY, sys.argv[1:])
