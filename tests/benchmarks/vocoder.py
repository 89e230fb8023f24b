"""What a teacher is worth for a vocoder in copy synthesis, with a minute of recordings."""

import sys
from pathlib import Path

from study import MEL_CEPSTRAL_DISTORTION, STFT_DISTANCE, STOI, Arm, Study, run

STUDY = Study(
    folder=Path("runs/vocoder"),
    arms={
        "baseline": Arm("baseline"),
        "taught audio": Arm("distill", ("transfer=taught_audio",), taught_by="teacher"),
        "taught audio, finetuned": Arm("finetune", start="taught audio"),
        "none, distill's steps": Arm("distill", ("transfer=none",), taught_by="teacher"),
        "hints": Arm("distill", ("transfer=taught_audio_hints",), taught_by="teacher"),
        "light recordings": Arm(
            "distill",
            ("transfer=taught_audio", "distiller.weights.stft=0.1", "distiller.weights.mel=0.1"),
            taught_by="teacher",
        ),
    },
    groups={
        "main": ("baseline", "taught audio", "taught audio, finetuned"),
        "controls": ("none, distill's steps",),
        "recipes": ("hints", "light recordings"),
    },
    compared=(
        ("taught audio, finetuned", "baseline"),
        ("taught audio", "baseline"),
        ("taught audio", "none, distill's steps"),
        ("hints", "taught audio"),
        ("light recordings", "taught audio"),
    ),
    fractions=(0.05, 0.25),
    words=("experiment=libritts_vocoder", "callbacks.speech.every_epochs=0"),
    measure=MEL_CEPSTRAL_DISTORTION,
    beside=(STFT_DISTANCE, STOI),
)

if __name__ == "__main__":
    run(STUDY, sys.argv[1:])
