"""The scores of one utterance that a network said, beside its recording."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from kd_lightning.distillers.spoken import Floats, Spoken
from kd_lightning.frontend.pitch import fundamental_frequency
from kd_lightning.frontend.text import scoring_form
from kd_lightning.metrics.alignment import focus_rate, repeated_tokens, skipped_tokens
from kd_lightning.metrics.intelligibility import pesq, stoi
from kd_lightning.metrics.pitch import at_frames, pitch_errors
from kd_lightning.metrics.spectral_distance import mel_cepstral_distortion, stft_distance, warping_path
from kd_lightning.metrics.word_errors import character_edits


class MelPair(NamedTuple):
    """Mels (bins, frames) of a recording and of what a network said."""

    reference: Floats
    said: Floats


def of_mels(pair: MelPair) -> dict[str, float]:
    """Mel-cepstral distortion along a warping path, in dB."""
    reference, said = map(torch.from_numpy, pair)
    return {"mcd": mel_cepstral_distortion(reference, said)}


def in_time(one: Spoken, sample_rate: int) -> dict[str, float]:
    """Scores of a waveform that keeps the time of its recording, sample by sample: copy synthesis.

    Args:
        one: what was said, beside the recording.
        sample_rate: of both, in Hz.
    """
    length = min(len(one.reference), len(one.waveform))
    reference, said = (torch.from_numpy(wave[:length]) for wave in (one.reference, one.waveform))
    wanted, heard = (fundamental_frequency(wave, sample_rate) for wave in (reference, said))
    errors = pitch_errors(wanted, heard)
    return of_mels(MelPair(one.reference_mel, one.mel)) | _known(
        stft_distance=stft_distance(reference, said),
        stoi=stoi(reference, said, sample_rate),
        pesq=pesq(reference, said, sample_rate),
        f0_rmse=errors.hz,
        voicing_error=errors.voicing,
    )


def in_its_own_time(one: Spoken, sample_rate: int, hop_seconds: float) -> dict[str, float]:
    """Scores of a reading of a sentence, along the path that warps it to the recording.

    Args:
        one: what was said, beside the recording.
        sample_rate: of both, in Hz.
        hop_seconds: of a frame of the mels.
    """
    wanted, said = torch.from_numpy(one.reference_mel), torch.from_numpy(one.mel)
    path = warping_path(wanted, said)
    ours, theirs = (
        at_frames(fundamental_frequency(torch.from_numpy(wave), sample_rate), mel.shape[1], hop_seconds)
        for wave, mel in ((one.waveform, said), (one.reference, wanted))
    )
    errors = pitch_errors(theirs, ours, path)
    mcd = mel_cepstral_distortion(wanted, said, path)
    return {"mcd": mcd} | _known(f0_rmse=errors.hz, voicing_error=errors.voicing)


def attended(attention: Tensor, heard: Tensor | None = None) -> dict[str, float]:
    """How a decoder went through a sentence.

    Args:
        attention: (S, U), of steps and tokens that are not padding.
        heard: (U,) bool, the tokens that take time: one that takes none, such as the mark at the end, is not skipped.
            ``None``: all.
    """
    one, steps = attention.cpu()[None], torch.tensor([len(attention)])
    spoken = one if heard is None else one[:, :, heard.cpu()]
    return {
        "focus_rate": float(focus_rate(one, steps)),
        "skipped": float(skipped_tokens(spoken, steps, torch.tensor([spoken.shape[2]]))),
        "repeated": float(repeated_tokens(one, steps)),
    }


def read_back(text: str, heard: str, language: str) -> dict[str, float]:
    """Character error rate of what a recogniser heard."""
    edits = character_edits([scoring_form(text, language)], [heard])[0]
    return {"round_trip_cer": edits.rate}


def means(scores: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each score over the utterances that have it."""
    by_key: dict[str, list[float]] = {}
    for one in scores:
        for key, value in one.items():
            by_key.setdefault(key, []).append(value)
    return {key: sum(values) / len(values) for key, values in by_key.items()}


def _known(**scores: float | None) -> dict[str, float]:
    """Those that could be measured."""
    return {key: value for key, value in scores.items() if value is not None}
