"""What a teacher is worth for a vocoder in copy synthesis, with a minute of recordings."""

import sys
from pathlib import Path

from study import MEL_CEPSTRAL_DISTORTION, STFT_DISTANCE, STOI, Arm, Study, run

# Of a batch, less than one segment is of a recording that may be heard.
LIGHT = ("distiller.weights.stft=0.1", "distiller.weights.mel=0.1")


def taught(*words: str) -> Arm:
    return Arm("distill", words, taught_by="teacher")


STUDY = Study(
    folder=Path("runs/vocoder"),
    arms={
        "baseline": Arm("baseline"),
        "taught audio": taught("transfer=taught_audio"),
        "taught audio, finetuned": Arm("finetune", start="taught audio"),
        "none, distill's steps": taught("transfer=none"),
        "hints": taught("transfer=taught_audio_hints"),
        "light recordings": taught("transfer=taught_audio", *LIGHT),
        "hints, light recordings": taught("transfer=taught_audio_hints", *LIGHT),
    },
    groups={
        "main": ("baseline", "taught audio", "taught audio, finetuned"),
        "controls": ("none, distill's steps",),
        "recipes": ("hints", "light recordings", "hints, light recordings"),
    },
    compared=(
        ("taught audio, finetuned", "baseline"),
        ("taught audio", "baseline"),
        ("taught audio", "none, distill's steps"),
        ("hints", "taught audio"),
        ("light recordings", "taught audio"),
        ("hints", "baseline"),
        ("hints, light recordings", "baseline"),
    ),
    fractions=(0.05, 0.25),
    words=("experiment=libritts_vocoder", "callbacks.speech.every_epochs=0"),
    measure=MEL_CEPSTRAL_DISTORTION,
    beside=(STFT_DISTANCE, STOI),
)

if __name__ == "__main__":
    run(STUDY, sys.argv[1:])
