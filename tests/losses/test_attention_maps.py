"""Attention transfer: squared distance of normalised maps."""

import numpy as np
import pytest
import torch

from kd_lightning.losses.attention_maps import attention_transfer

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = torch.randn(3, 4, 5, 2, generator=GENERATOR)
TEACHER = torch.randn(3, 6, 5, 2, generator=GENERATOR)


def normalised_map(item: np.ndarray) -> np.ndarray:
    total = sum(channel.astype(np.float64) ** 2 for channel in item)
    return total / np.sqrt((total**2).sum())


@pytest.mark.parametrize("bands", [True, False])
def test_it_equals_its_definition_in_float64(bands: bool) -> None:
    student, teacher = (STUDENT, TEACHER) if bands else (STUDENT[..., 0], TEACHER[..., 0])
    maps = [
        (normalised_map(s), normalised_map(t)) for s, t in zip(student.numpy(), teacher.numpy(), strict=True)
    ]
    ours = attention_transfer(student, teacher)
    assert ours.sum.item() == pytest.approx(sum(((s - t) ** 2).sum() for s, t in maps), rel=1e-5)
    assert ours.count == 3


def test_golden_values() -> None:
    early, late = torch.tensor([[[1.0, 0.0], [2.0, 0.0]]]), torch.tensor([[[0.0, 3.0]]])
    assert attention_transfer(early, late).sum.item() == pytest.approx(2.0)  # nothing in common
    # The maps (25, 0) and (9, 16) * any factor: cos = 9 / sqrt(337).
    both = torch.tensor([[[3.0, 4.0]]])
    assert attention_transfer(5 * early, both).sum.item() == pytest.approx(2 - 2 * 9 / 337**0.5, rel=1e-6)


def test_only_where_it_is_large_counts() -> None:
    same = torch.cat([-3 * TEACHER, TEACHER], dim=1)  # other channels, signs and size
    assert attention_transfer(same, TEACHER).sum.item() == pytest.approx(0, abs=1e-9)


def test_silent_layers_and_empty_batches_stay_finite() -> None:
    silent = torch.zeros(3, 4, 5, 2, requires_grad=True)
    attention_transfer(silent, TEACHER).sum.backward()
    assert silent.grad is not None
    assert silent.grad.isfinite().all()
    none = attention_transfer(STUDENT[:0], TEACHER[:0])
    assert (none.sum.item(), none.count.item()) == (0.0, 0.0)


def test_float32_under_autocast() -> None:
    student, teacher = STUDENT.bfloat16(), TEACHER.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = attention_transfer(student, teacher)
    assert result.sum.dtype == result.count.dtype == torch.float32
    torch.testing.assert_close(result, attention_transfer(student.float(), teacher.float()))


def test_other_frames_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 5, 2\) and the teacher's \(3, 4, 2\)"):
        attention_transfer(STUDENT, TEACHER[:, :, :4])
