"""Hints: mean squared error of activations, item by item."""

import numpy as np
import pytest
import torch

from kd_lightning.losses.hints import hint

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = torch.randn(3, 4, 5, 2, generator=GENERATOR)
TEACHER = torch.randn(3, 4, 5, 2, generator=GENERATOR)


def test_it_equals_its_definition_in_float64() -> None:
    difference = STUDENT.numpy().astype(np.float64) - TEACHER.numpy().astype(np.float64)
    expected = sum((item**2).sum() / 40 for item in difference)
    ours = hint(STUDENT, TEACHER)
    assert ours.sum.item() == pytest.approx(expected, rel=1e-6)
    assert ours.count == 3


def test_golden_value_and_identity() -> None:
    assert hint(torch.zeros(2, 7), torch.full((2, 7), 3.0)).sum.item() == 18.0
    assert hint(TEACHER, TEACHER).sum.item() == 0.0


def test_the_size_of_a_layer_does_not_change_its_weight() -> None:
    small, large = torch.ones(2, 3), torch.ones(2, 300, 7)
    torch.testing.assert_close(hint(small, 0 * small), hint(large, 0 * large))


def test_float32_under_autocast() -> None:
    student, teacher = STUDENT.bfloat16(), TEACHER.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = hint(student, teacher)
    assert result.sum.dtype == torch.float32
    torch.testing.assert_close(result, hint(student.float(), teacher.float()))


def test_other_shapes_are_refused_even_if_they_would_broadcast() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4, 5, 2\) and the teacher's \(3, 4, 5, 1\)"):
        hint(STUDENT, TEACHER[..., :1])
