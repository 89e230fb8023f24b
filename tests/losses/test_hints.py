"""Hints: mean squared error and cosine of activations, item by item."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from kd_lightning.losses.hints import cosine, hint
from kd_lightning.losses.summed import Summed

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = torch.randn(3, 4, 5, 2, generator=GENERATOR)
TEACHER = torch.randn(3, 4, 5, 2, generator=GENERATOR)
BOTH = pytest.mark.parametrize("loss", [hint, cosine])

Loss = Callable[[torch.Tensor, torch.Tensor], Summed]


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


@pytest.mark.parametrize("dimensions", [2, 3, 4])
def test_cosine_equals_its_definition_in_float64(dimensions: int) -> None:
    student, teacher = STUDENT[(..., *[0] * (4 - dimensions))], TEACHER[(..., *[0] * (4 - dimensions))]
    expected = 0.0
    for one, two in zip(student.numpy().astype(np.float64), teacher.numpy().astype(np.float64), strict=True):
        one, two = one.reshape(4, -1), two.reshape(4, -1)
        cosines = (one * two).sum(0) / np.sqrt((one**2).sum(0) * (two**2).sum(0))
        expected += 1 - cosines.mean()
    ours = cosine(student, teacher)
    assert ours.sum.item() == pytest.approx(expected, rel=1e-5)
    assert ours.count == 3


def test_cosine_golden_values() -> None:
    # Along, at a right angle, opposite.
    student = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    teacher = torch.tensor([[5.0, 0.0], [5.0, 0.0], [5.0, 0.0]])
    assert [cosine(s[None], t[None]).sum.item() for s, t in zip(student, teacher, strict=True)] == [0, 1, 2]
    torch.testing.assert_close(cosine(7 * STUDENT, TEACHER), cosine(STUDENT, TEACHER))


@BOTH
def test_an_empty_batch_is_zero_of_zero(loss: Loss) -> None:
    student = STUDENT.clone().requires_grad_()
    none = loss(student[:0], TEACHER[:0])
    none.sum.backward()
    assert (none.sum.item(), none.count.item()) == (0.0, 0.0)
    assert student.grad is not None
    assert student.grad.eq(0).all()


@BOTH
def test_float32_under_autocast(loss: Loss) -> None:
    student, teacher = STUDENT.bfloat16(), TEACHER.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = loss(student, teacher)
    assert result.sum.dtype == torch.float32
    torch.testing.assert_close(result, loss(student.float(), teacher.float()))


@BOTH
def test_other_shapes_are_refused_even_if_they_would_broadcast(loss: Loss) -> None:
    with pytest.raises(ValueError, match=r"\(3, 4, 5, 2\) and the teacher's \(3, 4, 5, 1\)"):
        loss(STUDENT, TEACHER[..., :1])
