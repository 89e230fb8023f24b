"""Vocoding, mel to waveform: how near copy synthesis comes to the recordings."""

from collections.abc import Mapping
from typing import ClassVar

from kd_lightning.reports.formats import HERTZ, PLAIN, SHARE
from kd_lightning.reports.measured import MCD, Measure, Measured


class Vocoding(Measured):
    """Distortion of cepstra and spectra, intelligibility, and pitch, frame by frame."""

    others: ClassVar[Mapping[str, str]] = {"stft_distance": "STFT distance", "stoi": "STOI"}
    measures: ClassVar[Mapping[str, tuple[Measure, ...]]] = {
        "Quality": (MCD, Measure("stft_distance", "STFT distance", PLAIN), Measure("stoi", "STOI", PLAIN)),
        "Voice": (
            Measure("pesq", "PESQ", PLAIN),
            Measure("f0_rmse", "F0 RMSE", HERTZ),
            Measure("voicing_error", "voicing error", SHARE),
            Measure("round_trip_cer", "round-trip CER", SHARE),
        ),
    }
    captions: ClassVar[Mapping[str, str]] = {
        "Quality": "Copy synthesis: recordings to mels and back. Mel-cepstral distortion and multi-resolution STFT "
        "distance, lower is better; short-time objective intelligibility, up to 1, higher is better.",
        "Voice": "PESQ is wide-band, up to 4.6, higher is better; of the others lower is better: F0 where both are "
        "voiced, time that is voiced in one alone, and the characters that a recogniser gets wrong.",
    }
