"""Speech synthesis, text to mel: how far the student's sentences are from the recordings, and whether it reads all."""

from collections.abc import Mapping
from typing import Any, ClassVar

from kd_lightning.reports.aligned import Aligned
from kd_lightning.reports.formats import HERTZ, MILLISECONDS, PER_SENTENCE, SHARE
from kd_lightning.reports.measured import MCD, Floats, Measure, Measured
from kd_lightning.reports.synthesis.reading import faults, said


class Synthesis(Measured):
    """Distortion along a warping path, prosody, what a recogniser understands, and how the decoder reads."""

    others: ClassVar[Mapping[str, str]] = {"round_trip_cer": "round-trip CER %", "f0_rmse": "F0 RMSE Hz"}
    parts = (*Measured.parts, "reading")
    measures: ClassVar[Mapping[str, tuple[Measure, ...]]] = {
        "Quality": (MCD, Measure("round_trip_cer", "round-trip CER", SHARE)),
        "Prosody": (
            Measure("f0_rmse", "F0 RMSE", HERTZ),
            Measure("voicing_error", "voicing error", SHARE),
            Measure("duration_error", "duration error", MILLISECONDS),
        ),
        "Alignment": (
            Measure("focus_rate", "focus rate", SHARE),
            Measure("skipped", "tokens skipped", PER_SENTENCE),
            Measure("repeated", "steps back", PER_SENTENCE),
        ),
    }
    captions: ClassVar[Mapping[str, str]] = {
        "Quality": "Mel-cepstral distortion to the recording along a warping path, and the characters that a "
        "recogniser gets wrong in what was said; lower is better.",
        "Prosody": "Over aligned frames: F0 where both are voiced, and frames that are voiced in one alone. Durations "
        "of tokens. Lower is better.",
        "Alignment": "Of decoders with attention: its largest weight in a step, near 100 % where each step reads one "
        "token; tokens that no step reads, and steps that go back to an earlier token.",
    }

    def details(self, aligned: Aligned, outcomes: Mapping[str, Floats]) -> dict[str, Any]:
        return super().details(aligned, outcomes) | {"reading": faults(aligned)}

    def sentences(self, comparison: Mapping[str, Any]) -> list[str]:
        return said(comparison["reading"])
