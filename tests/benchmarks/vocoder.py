"""What a teacher is worth for a vocoder in copy synthesis, with a minute of recordings."""

import sys
from pathlib import Path

from study import MEL_CEPSTRAL_DISTORTION, STFT_DISTANCE, STOI, Arm, Study, run


def taught(*words: str) -> Arm:
    return Arm("distill", words, taught_by="teacher")


STUDY = Study(
    folder=Path("runs/vocoder"),
    arms={
        "baseline": Arm("baseline"),
        "audio and hints": taught("transfer=taught_audio_hints"),
        "audio and hints, finetuned": Arm("finetune", start="audio and hints"),
        "none, distill's steps": taught("transfer=none"),
        # Recordings weigh a tenth beside the teacher in the recipe with hints, and as much in that without.
        "audio": taught("transfer=taught_audio"),
        "audio, light recordings": taught(
            "transfer=taught_audio", "distiller.weights.stft=0.1", "distiller.weights.mel=0.1"
        ),
        "audio and hints, full recordings": taught(
            "transfer=taught_audio_hints", "transfer.weights.stft=1.0", "transfer.weights.mel=1.0"
        ),
    },
    groups={
        "main": ("baseline", "audio and hints", "audio and hints, finetuned"),
        "controls": ("none, distill's steps",),
        "recipes": ("audio", "audio, light recordings", "audio and hints, full recordings"),
    },
    compared=(
        ("audio and hints, finetuned", "baseline"),
        ("audio and hints", "baseline"),
        ("audio and hints", "none, distill's steps"),
        ("audio", "baseline"),
        ("audio, light recordings", "baseline"),
        ("audio and hints, full recordings", "baseline"),
    ),
    fractions=(0.05, 0.25),
    words=("experiment=libritts_vocoder", "callbacks.speech.every_epochs=0"),
    measure=MEL_CEPSTRAL_DISTORTION,
    beside=(STFT_DISTANCE, STOI),
)

if __name__ == "__main__":
    run(STUDY, sys.argv[1:])
