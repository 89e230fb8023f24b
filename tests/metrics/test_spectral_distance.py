from math import log, pi, sqrt
from time import process_time

import numpy as np
import pytest
import torch
from mel_cepstral_distance import compare_mel_spectrograms
from scipy.fft import dct
from torch import Tensor

from kd_lightning.metrics.spectral_distance import (
    cepstra,
    mel_cepstral_distortion,
    stft_distance,
    warping_path,
)

BINS = 80


def smooth_mel(frames: int, seed: int = 0) -> Tensor:
    """A log-mel whose spectrum drifts as that of speech does: each frame is a little unlike the one before."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, BINS, frames + 16, generator=generator).cumsum(dim=1) / 3
    return torch.nn.functional.avg_pool1d(noise, 17, stride=1)[0] - 4


def cosine(order: int, nepers: float) -> Tensor:
    """(bins, 1) a ripple over the bands."""
    places = torch.arange(BINS, dtype=torch.float64) + 0.5
    return nepers * torch.cos(order * places * pi / BINS)[:, None]


def test_cepstra_are_those_of_scipy_in_decibels() -> None:
    mel = smooth_mel(30)
    orthonormal = dct(mel.double().numpy(), type=2, norm="ortho", axis=0)[1:14]
    np.testing.assert_allclose(cepstra(mel), 10 * sqrt(2) / log(10) * sqrt(2 / BINS) * orthonormal, atol=1e-9)


def test_a_mel_and_itself_at_another_level_are_the_same_to_it() -> None:
    mel = smooth_mel(60)
    assert mel_cepstral_distortion(mel, mel) == 0
    assert mel_cepstral_distortion(mel, mel.double() + 1.7) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 13])
def test_a_ripple_costs_its_root_mean_square_in_decibels(order: int) -> None:
    mel = smooth_mel(40).double()
    frame_by_frame = np.stack((np.arange(40), np.arange(40)), axis=1)
    nepers = 0.3
    expected = 20 / log(10) * nepers / sqrt(2)
    assert mel_cepstral_distortion(mel, mel + cosine(order, nepers), frame_by_frame) == pytest.approx(
        expected
    )


def test_a_finer_ripple_than_13_periods_of_cosine_does_not_count() -> None:
    mel = smooth_mel(40).double()
    assert mel_cepstral_distortion(mel, mel + cosine(14, 0.3)) == pytest.approx(0, abs=1e-9)


def test_another_pace_costs_little_and_another_sentence_much() -> None:
    mel = smooth_mel(150)
    slower = mel[:, torch.arange(220) * 150 // 220]
    assert mel_cepstral_distortion(mel, slower) == 0
    assert mel_cepstral_distortion(mel, smooth_mel(150, seed=1)) > 2


def test_a_path_goes_from_both_first_to_both_last_frames_and_never_back() -> None:
    path = warping_path(smooth_mel(50), smooth_mel(70, seed=1))
    assert path[0].tolist() == [0, 0]
    assert path[-1].tolist() == [49, 69]
    steps = {(int(one), int(other)) for one, other in np.diff(path, axis=0)}
    assert steps <= {(0, 1), (1, 0), (1, 1)}


def test_warping_is_the_cheapest_of_all_paths_where_that_can_be_told() -> None:
    one, other = smooth_mel(4).numpy(), smooth_mel(3, seed=1).numpy()
    distances = np.linalg.norm(cepstra(one)[:, :, None] - cepstra(other)[:, None], axis=0)

    def cheapest(i: int, j: int) -> float:
        if i == j == 0:
            return float(distances[0, 0])
        before = [cheapest(i - a, j - b) for a, b in ((1, 0), (0, 1), (1, 1)) if i >= a and j >= b]
        return float(distances[i, j]) + min(before)

    path = warping_path(one, other)
    assert distances[path[:, 0], path[:, 1]].sum() == pytest.approx(cheapest(3, 2))


def test_it_is_the_library_s_distance_in_other_units() -> None:
    one, other = smooth_mel(60), smooth_mel(60, seed=1)
    bels = [mel.double().T.numpy() * 2 / log(10) for mel in (one, other)]
    theirs, _ = compare_mel_spectrograms(*bels, s=0, D=13, align_target="mfcc", dtw_radius=2)
    assert mel_cepstral_distortion(one, other) == pytest.approx(theirs * 10 * sqrt(2) / BINS)


def test_two_seconds_take_a_processor_well_under_a_fifth_of_a_second() -> None:
    one, other = smooth_mel(187), smooth_mel(200, seed=1)
    start = process_time()
    mel_cepstral_distortion(one, other)
    assert process_time() - start < 0.2


def test_stft_distance_is_0_for_itself_and_grows_with_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    speech, noise = torch.randn(2, 24000, generator=generator) * 0.1
    some, more = stft_distance(speech, speech + 0.1 * noise), stft_distance(speech, speech + noise)
    assert stft_distance(speech, speech) == pytest.approx(0, abs=1e-6)
    assert 0 < some < more


def test_stft_distance_of_a_signal_at_half_its_level_is_known() -> None:
    speech = torch.randn(24000, generator=torch.Generator().manual_seed(0)) * 0.1
    # Convergence 1/2, and every logarithm is off by ln 2.
    assert stft_distance(speech, speech / 2) == pytest.approx(0.5 + log(2), rel=1e-3)
    with pytest.raises(ValueError, match="shape"):
        stft_distance(speech, speech[:-1])
