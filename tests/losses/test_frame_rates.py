"""A teacher's frames on a student's: pooling and interpolation, utterance by utterance."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.losses.frame_rates import average_pool, interpolate, max_pool

GENERATOR = torch.Generator().manual_seed(0)
TEACHER = torch.randn(5, 24, 3, generator=GENERATOR)
SPIKES = torch.rand(5, 24, generator=GENERATOR) < 0.3
LENGTHS_T = torch.tensor([24, 23, 17, 1, 5])

Adapter = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def largest(teacher: Tensor, teacher_lengths: Tensor, lengths: Tensor, frames: int) -> Tensor:
    return max_pool(teacher, SPIKES[: len(teacher), : teacher.shape[1]], teacher_lengths, lengths, frames)


ADAPTERS = pytest.mark.parametrize("adapter", [average_pool, largest, interpolate])


def belonging(i: int, theirs: int, ours: int) -> list[int]:
    """The teacher's frames of which the middle lies in the student's frame i, else the one around its middle."""
    share = Fraction(theirs, ours)
    inside = [j for j in range(theirs) if i * share <= j + Fraction(1, 2) < (i + 1) * share]
    return inside or [int((i + Fraction(1, 2)) * share)]


def pooled_float64(maximum: bool, theirs: Tensor, ours: Tensor, frames: int) -> np.ndarray:
    out = np.zeros((len(theirs), frames, 3))
    for b in range(len(theirs)):
        rows = TEACHER[b].numpy().astype(np.float64)
        for i in range(int(ours[b])):
            places = belonging(i, int(theirs[b]), int(ours[b]))
            if maximum:
                places = [j for j in places if SPIKES[b, j]] or places
            out[b, i] = rows[places].max(axis=0) if maximum else rows[places].mean(axis=0)
    return out


@pytest.mark.parametrize(
    "lengths", [(12, 12, 9, 1, 3), (7, 8, 6, 1, 1), (24, 24, 16, 2, 5), (40, 46, 34, 4, 7)]
)
def test_pooling_takes_the_frames_whose_middles_lie_inside(lengths: tuple[int, ...]) -> None:
    ours = torch.tensor(lengths)
    frames = max(lengths) + 2
    for adapter, maximum in ((average_pool, False), (largest, True)):
        expected = pooled_float64(maximum, LENGTHS_T, ours, frames)
        np.testing.assert_allclose(adapter(TEACHER, LENGTHS_T, ours, frames), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("lengths", [(12, 12, 9, 1, 3), (24, 24, 16, 2, 5), (40, 46, 34, 4, 7)])
def test_interpolation_is_numpys_between_middles(lengths: tuple[int, ...]) -> None:
    frames = max(lengths) + 2
    ours = interpolate(TEACHER, LENGTHS_T, torch.tensor(lengths), frames)
    for b, (length, theirs) in enumerate(zip(lengths, LENGTHS_T.tolist(), strict=True)):
        middles = (np.arange(length) + 0.5) / length
        for c in range(3):
            expected = np.interp(middles, (np.arange(theirs) + 0.5) / theirs, TEACHER[b, :theirs, c].double())
            np.testing.assert_allclose(ours[b, :length, c], expected, rtol=1e-5, atol=1e-6)
        assert ours[b, length:].eq(0).all()


@ADAPTERS
def test_equal_rates_change_no_bit(adapter: Adapter) -> None:
    same = adapter(TEACHER, LENGTHS_T, LENGTHS_T, 24)
    valid = (torch.arange(24) < LENGTHS_T[:, None]).unsqueeze(-1)
    assert torch.equal(same, TEACHER.where(valid, 0.0))


def test_equal_rates_change_no_bit_of_a_minute() -> None:
    # Products of lengths pass what float32 counts exactly.
    minute = torch.randn(1, 6001, 1, generator=GENERATOR)
    given = torch.tensor([6001]), torch.tensor([6001]), 6001
    assert torch.equal(average_pool(minute, *given), minute)
    assert torch.equal(max_pool(minute, minute[..., 0] > 0, *given), minute)
    assert torch.equal(interpolate(minute, *given), minute)


def test_whole_factors_are_torchs_pooling() -> None:
    full = torch.full((5,), 24)
    x = TEACHER.transpose(1, 2)
    for factor in (2, 3, 4):
        ours = full // factor
        average = average_pool(TEACHER, full, ours, 24 // factor)
        torch.testing.assert_close(average, functional.avg_pool1d(x, factor).transpose(1, 2))
        none = torch.zeros_like(SPIKES)
        torch.testing.assert_close(
            max_pool(TEACHER, none, full, ours, 24 // factor),
            functional.max_pool1d(x, factor).transpose(1, 2),
        )


@ADAPTERS
def test_an_utterance_alone_is_the_same_as_in_a_ragged_batch(adapter: Adapter) -> None:
    ours = (LENGTHS_T + 1) // 2
    dirty = TEACHER.clone()
    dirty[~(torch.arange(24) < LENGTHS_T[:, None])] = float("nan")
    batch = adapter(dirty, LENGTHS_T, ours, 15)
    assert batch.isfinite().all()
    alone = adapter(TEACHER[:1, :24], LENGTHS_T[:1], ours[:1], 12)
    torch.testing.assert_close(batch[0, :12], alone[0], rtol=0, atol=0)
    assert torch.equal(batch, adapter(TEACHER, LENGTHS_T, ours, 15))


def test_a_spike_stays_a_spike_beside_blanks() -> None:
    # Blank, blank, a spike of token 1, blank | blank, 2, 1, blank | blank four times.
    choices = torch.tensor([[0, 0, 1, 0, 0, 2, 1, 0, 0, 0, 0, 0]])
    log_posteriors = functional.one_hot(choices, 3).float().mul(4).log_softmax(dim=-1)
    twelve, three = torch.tensor([12]), torch.tensor([3])
    pooled = max_pool(log_posteriors, choices != 0, twelve, three, 3)
    assert torch.equal(pooled[0, 0], log_posteriors[0, 2])
    # Both tokens and no blank: the larger of two log-posteriors each.
    torch.testing.assert_close(pooled[0, 1], log_posteriors[0, [5, 6]].amax(dim=0))
    assert pooled[0, 1].argmin() == 0
    assert torch.equal(pooled[0, 2], log_posteriors[0, 0])
    drowned = average_pool(log_posteriors.exp(), twelve, three, 3)
    assert drowned[0, 0].argmax() == 0


def test_a_frame_more_or_less_does_not_blur() -> None:
    # Two networks of one rate may differ by a frame at the end.
    ours = torch.tensor([23])
    moved = average_pool(TEACHER[:1], torch.tensor([24]), ours, 23)
    rows = {tuple(row.tolist()) for row in TEACHER[0]}
    assert sum(tuple(row.tolist()) in rows for row in moved[0]) >= 22


@ADAPTERS
def test_an_utterance_without_frames_is_silence(adapter: Adapter) -> None:
    none = torch.zeros(5, dtype=torch.long)
    assert adapter(TEACHER, LENGTHS_T, none, 6).eq(0).all()
    assert adapter(TEACHER, none, torch.full((5,), 6), 6).isfinite().all()


@ADAPTERS
def test_half_precision_becomes_float32(adapter: Adapter) -> None:
    assert adapter(TEACHER.half(), LENGTHS_T, LENGTHS_T, 24).dtype == torch.float32
