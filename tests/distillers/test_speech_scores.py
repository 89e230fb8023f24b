"""Scores of what a network said, of signals whose scores are known."""

import jiwer
import numpy as np
import pytest
import torch
from speaking_steps import RATE, mel, noise

from kd_lightning.distillers.speech_scores import (
    MelPair,
    attended,
    in_its_own_time,
    in_time,
    means,
    of_mels,
    read_back,
)
from kd_lightning.distillers.spoken import Spoken

HOP_SECONDS = mel().hop_seconds


def voice(hertz: float, seconds: float = 1.2) -> torch.Tensor:
    """(T,) a buzz of ten harmonics with a breath of noise."""
    time = torch.arange(round(seconds * RATE)) / RATE
    buzz = sum(torch.sin(2 * torch.pi * hertz * n * time) / n for n in range(1, 11))
    return 0.1 * buzz + noise(len(time)) / 50


def spoken(said: torch.Tensor, reference: torch.Tensor) -> Spoken:
    mels = [mel()(waveform[None])[0].numpy() for waveform in (said, reference)]
    return Spoken("a", said.numpy(), mels[0], reference.numpy(), mels[1], None, [])


def test_a_recording_said_again_has_no_error() -> None:
    one = spoken(voice(120), voice(120))
    scores = in_time(one, RATE)
    assert scores.pop("stoi") == pytest.approx(1)
    scores.pop("pesq", None)  # of an extra
    assert scores == pytest.approx(dict.fromkeys(("mcd", "stft_distance", "f0_rmse", "voicing_error"), 0.0))
    assert in_its_own_time(one, RATE, HOP_SECONDS) == pytest.approx(
        dict.fromkeys(("mcd", "f0_rmse", "voicing_error"), 0.0)
    )


@pytest.mark.parametrize("own_time", [False, True])
def test_another_pitch_is_off_by_the_difference(own_time: bool) -> None:
    one = spoken(voice(130), voice(120))
    scores = in_its_own_time(one, RATE, HOP_SECONDS) if own_time else in_time(one, RATE)
    assert scores["f0_rmse"] == pytest.approx(10, abs=0.5)
    assert scores["mcd"] > 0


def test_copies_are_compared_over_the_samples_that_both_have() -> None:
    longer = torch.cat((voice(120), noise(500)))
    scores = in_time(spoken(longer, voice(120)), RATE)
    assert scores["stft_distance"] == pytest.approx(0, abs=1e-9)
    assert scores["f0_rmse"] == pytest.approx(0, abs=1e-6)


def test_a_reading_of_another_length_is_compared_along_its_path() -> None:
    silence = torch.zeros(RATE // 4)
    reference = torch.cat((silence, voice(120), silence))
    later = torch.cat((silence, silence, voice(120), silence))
    scores = in_its_own_time(spoken(later, reference), RATE, HOP_SECONDS)
    assert scores["f0_rmse"] < 1
    assert scores["voicing_error"] < 0.05


def test_silence_has_no_pitch_to_be_wrong_in() -> None:
    scores = in_its_own_time(spoken(torch.zeros(RATE), voice(120)), RATE, HOP_SECONDS)
    assert "f0_rmse" not in scores
    assert scores["voicing_error"] > 0.5
    assert np.isfinite(list(scores.values())).all()


def test_validation_and_test_measure_the_same_distortion() -> None:
    one = spoken(voice(150), voice(120))
    expected = of_mels(MelPair(one.reference_mel, one.mel))["mcd"]
    assert in_time(one, RATE)["mcd"] == expected
    assert in_its_own_time(one, RATE, HOP_SECONDS)["mcd"] == pytest.approx(expected)


def test_how_a_decoder_went_through_a_sentence() -> None:
    steps = torch.tensor([0, 0, 1, 3, 1, 3])  # token 2 is skipped, and it goes back once
    attention = 0.96 * torch.nn.functional.one_hot(steps, 4) + 0.01
    assert attended(attention) == pytest.approx({"focus_rate": 0.97, "skipped": 1.0, "repeated": 1.0})
    assert attended(attention, torch.tensor([True, True, False, True]))["skipped"] == 0  # it takes no time


@pytest.mark.parametrize("heard", ["the old house", "the cold house", "", "an old mouse is there"])
def test_what_was_heard_is_scored_by_characters_in_the_form_without_marks(heard: str) -> None:
    expected = jiwer.cer("the old house", heard)
    assert read_back("The old house!", heard, "en") == {"round_trip_cer": pytest.approx(expected)}


def test_a_mean_is_over_the_utterances_that_have_the_score() -> None:
    scores = [{"mcd": 4.0, "f0_rmse": 10.0}, {"mcd": 6.0}, {"mcd": 8.0, "f0_rmse": 20.0}]
    assert means(scores) == {"mcd": 6.0, "f0_rmse": 15.0}
    assert means([]) == {}
