from math import log, pi, sqrt
from time import process_time

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_lightning.frontend.pitch import fundamental_frequency
from kd_lightning.metrics.pitch import (
    at_frames,
    frame_energy,
    pitch_errors,
    token_energy,
    token_pitch,
)

RATE = 24000
DURATIONS = torch.tensor([[3, 0, 2, 5], [4, 2, 0, 0]])


def vowel(hertz: float, seconds: float = 1.0) -> Tensor:
    """Harmonics of one F0, with the slope of a voice, between two quarters of a second of silence."""
    phase = 2 * pi * hertz * torch.arange(int(RATE * seconds)) / RATE
    voice = sum((number * phase).sin() / number for number in range(1, 25))
    return torch.nn.functional.pad(0.1 * torch.as_tensor(voice), (RATE // 4, RATE // 4))


@pytest.mark.parametrize("hertz", [100.0, 150.0, 220.0, 330.0])
def test_a_vowel_has_its_own_pitch_and_silence_none(hertz: float) -> None:
    f0 = fundamental_frequency(vowel(hertz), RATE)
    assert len(f0) == 301
    # Three values at each edge are rough.
    assert np.all(f0[:47] == 0)
    assert np.all(f0[254:] == 0)
    assert np.abs(f0[56:245] - hertz).max() < 0.005 * hertz
    assert not fundamental_frequency(torch.zeros(RATE), RATE).any()


def test_two_seconds_take_a_processor_well_under_a_fifth_of_a_second() -> None:
    speech = vowel(120.0, 1.5)
    start = process_time()
    fundamental_frequency(speech, RATE)
    assert process_time() - start < 0.2


def test_a_frame_has_the_pitch_in_its_middle() -> None:
    f0 = np.arange(100, 140, dtype=np.float64)
    # Frames of 12.5 ms are centred on 6.25, 18.75 and 31.25 ms: nearest to values 1, 4 and 6.
    assert at_frames(f0, 3, 0.0125).tolist() == [101, 104, 106]
    assert at_frames(f0[:4], 3, 0.0125)[-1] == 103


def test_errors_equal_their_definitions() -> None:
    reference = np.array([100.0, 200.0, 0.0, 0.0, 150.0, 120.0])
    f0 = np.array([110.0, 190.0, 0.0, 90.0, 0.0, 120.0])
    errors = pitch_errors(reference, f0)
    assert errors.hz == pytest.approx(sqrt((10**2 + 10**2) / 3))
    cents = 1200 * np.log2([1.1, 0.95, 1.0])
    assert errors.cents == pytest.approx(sqrt((cents**2).mean()))
    assert errors.voicing == pytest.approx(2 / 6)


def test_an_octave_is_1200_cents_whatever_the_voice_and_a_whisper_has_no_error_in_pitch() -> None:
    reference = np.linspace(80, 300, 50)
    assert pitch_errors(reference, 2 * reference).cents == pytest.approx(1200)
    assert pitch_errors(reference, np.zeros(50)) == (None, None, 1.0)


def test_a_reading_at_another_pace_is_compared_along_the_path() -> None:
    reference = np.array([0.0, 100.0, 120.0, 0.0])
    slower = reference.repeat(2)
    path = np.stack((np.arange(8) // 2, np.arange(8)), axis=1)
    assert pitch_errors(reference, slower, path) == (0, 0, 0)
    with pytest.raises(ValueError, match="4 and 8 values"):
        pitch_errors(reference, slower)


def test_a_token_s_pitch_is_the_mean_over_its_voiced_frames() -> None:
    f0 = torch.tensor(
        [[0, 100, 200, 0, 0, 150, 150, 300, 0, 0], [120, 120, 120, 120, 0, 90, 77, 77, 0, 0]]
    ).float()
    pitch = token_pitch(f0, DURATIONS, mean=log(100), deviation=0.5)
    expected = [
        [log(2) / 2 / 0.5, 0.0, 0.0, (2 * log(1.5) + log(3)) / 3 / 0.5],
        [log(1.2) / 0.5, log(0.9) / 0.5, 0.0, 0.0],
    ]
    np.testing.assert_allclose(pitch.numpy(), expected, atol=1e-6)


def test_energy_is_that_of_the_amplitudes_and_a_token_s_is_its_mean() -> None:
    amplitudes = torch.rand(2, 8, 10, generator=torch.Generator().manual_seed(0)) + 0.01
    exact = np.log(np.linalg.norm(amplitudes.double().numpy(), axis=1))
    np.testing.assert_allclose(frame_energy(amplitudes.log()).numpy(), exact, rtol=1e-5, atol=1e-6)
    energy = token_energy(amplitudes.log(), DURATIONS, mean=0.3, deviation=2.0)
    normal = (exact - 0.3) / 2
    expected = [
        [normal[0, :3].mean(), 0.0, normal[0, 3:5].mean(), normal[0, 5:].mean()],
        [normal[1, :4].mean(), normal[1, 4:6].mean(), 0.0, 0.0],
    ]
    np.testing.assert_allclose(energy.numpy(), expected, atol=1e-6)
