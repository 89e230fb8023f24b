"""Distillation losses on logits: closed forms in float64 and the properties that they are chosen for."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_lightning.losses.logits import hard_labels, mean_squared_error, soft_targets, standardised_logits
from kd_lightning.losses.summed import Summed

Loss = Callable[..., Summed]

STUDENT = torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.0, 3.0, -2.0, 1.0], [-0.5, 0.25, 4.0, 1.5]])
TEACHER = torch.tensor([[4.0, -3.0, 1.0, 0.5], [1.0, 1.5, -4.0, 6.0], [0.0, 0.0, 2.0, -1.0]])
ALL = pytest.mark.parametrize("loss", [soft_targets, standardised_logits, mean_squared_error, hard_labels])
IMITATIONS = pytest.mark.parametrize("loss", [soft_targets, standardised_logits, mean_squared_error])


def float64(logits: Tensor) -> np.ndarray:
    return logits.numpy().astype(np.float64)


def softmax(z: np.ndarray) -> np.ndarray:
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def divergence(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return float(temperature**2 * (p * np.log(p / q)).sum())


def z_score(z: np.ndarray) -> np.ndarray:
    return (z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True)


def gradient(loss: Loss, student: Tensor, *arguments: object) -> Tensor:
    student = student.clone().requires_grad_()
    loss(student, *arguments).sum.backward()
    assert student.grad is not None
    return student.grad


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_soft_targets_equal_their_definition_in_float64(temperature: float) -> None:
    ours = soft_targets(STUDENT, TEACHER, temperature)
    expected = divergence(float64(STUDENT), float64(TEACHER), temperature)
    assert ours.sum.item() == pytest.approx(expected, rel=1e-5)
    assert ours.count == 3


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_standardised_logits_equal_their_definition_in_float64(temperature: float) -> None:
    ours = standardised_logits(STUDENT, TEACHER, temperature)
    expected = divergence(z_score(float64(STUDENT)), z_score(float64(TEACHER)), temperature)
    assert ours.sum.item() == pytest.approx(expected, rel=1e-5)
    assert ours.count == 3


def test_golden_values() -> None:
    # softmax(0, ln 3) = (1/4, 3/4) against a uniform student.
    student, teacher = torch.zeros(1, 2), torch.tensor([[0.0, np.log(3.0)]])
    expected = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    assert soft_targets(student, teacher, 1.0).sum.item() == pytest.approx(expected, rel=1e-6)
    # At T = 2 the same teacher says softmax(0, 2 ln 3 / 2).
    assert soft_targets(student, 2 * teacher, 2.0).sum.item() == pytest.approx(4 * expected, rel=1e-6)
    assert mean_squared_error(STUDENT, TEACHER).sum.item() == pytest.approx((8.5 + 32.25 + 10.5625) / 4)
    assert hard_labels(student, teacher).sum.item() == pytest.approx(np.log(2))


@IMITATIONS
def test_identical_logits_give_zero_and_no_gradient(loss: Loss) -> None:
    assert loss(TEACHER, TEACHER).sum.item() == pytest.approx(0, abs=1e-6)
    assert gradient(loss, TEACHER, TEACHER).abs().max() < 1e-5


@IMITATIONS
def test_different_logits_give_more_than_zero(loss: Loss) -> None:
    assert loss(STUDENT, TEACHER).sum.item() > 0.1


def test_the_squared_temperature_keeps_the_gradients_size() -> None:
    # For large T, d/dz T^2 KL tends to (centred student - centred teacher) / C (Hinton et al. 2015, eq. 4).
    difference = (STUDENT - STUDENT.mean(1, keepdim=True)) - (TEACHER - TEACHER.mean(1, keepdim=True))
    for temperature in (50.0, 100.0):
        ours = gradient(soft_targets, STUDENT, TEACHER, temperature)
        torch.testing.assert_close(ours, difference / 4, rtol=0.1, atol=0.02)


def test_soft_targets_ignore_a_shift_of_either_sides_logits() -> None:
    expected = soft_targets(STUDENT, TEACHER).sum
    torch.testing.assert_close(soft_targets(STUDENT + 5, TEACHER - 7).sum, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("scale", "shift"), [(3.0, 0.0), (0.1, -4.0), (50.0, 100.0)])
def test_standardised_logits_ignore_shift_and_scale_of_either_side(scale: float, shift: float) -> None:
    expected = standardised_logits(STUDENT, TEACHER).sum
    moved = scale * TEACHER + shift
    torch.testing.assert_close(standardised_logits(STUDENT, moved).sum, expected, rtol=1e-3, atol=1e-5)
    other_way = standardised_logits(TEACHER, STUDENT).sum
    torch.testing.assert_close(standardised_logits(moved, STUDENT).sum, other_way, rtol=1e-3, atol=1e-5)
    assert standardised_logits(moved, TEACHER).sum.item() == pytest.approx(0, abs=1e-4)


def test_standardising_a_network_that_says_nothing_stays_finite() -> None:
    flat = torch.full((3, 4), 2.5)
    assert standardised_logits(flat, TEACHER).sum.isfinite()
    assert gradient(standardised_logits, flat, TEACHER).isfinite().all()


def test_hard_labels_are_cross_entropy_with_the_teachers_choice() -> None:
    p = softmax(float64(STUDENT))
    expected = -np.log(p[[0, 1, 2], [0, 3, 2]]).sum()  # the teacher's argmax, read off above
    ours = hard_labels(STUDENT, TEACHER)
    assert ours.sum.item() == pytest.approx(expected, rel=1e-6)
    assert ours.count == 3


@ALL
def test_the_sum_adds_up_over_the_batch(loss: Loss) -> None:
    whole = loss(STUDENT, TEACHER)
    parts = [loss(STUDENT[row : row + 1], TEACHER[row : row + 1]) for row in range(3)]
    torch.testing.assert_close(whole.sum, sum(part.sum for part in parts))
    assert whole.count == sum(part.count for part in parts) == 3


@ALL
def test_float32_under_autocast(loss: Loss) -> None:
    student, teacher = STUDENT.bfloat16(), TEACHER.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = loss(student, teacher)
    assert result.sum.dtype == result.count.dtype == torch.float32
    torch.testing.assert_close(result, loss(student.float(), teacher.float()))


@ALL
def test_other_classes_are_refused_with_both_shapes(loss: Loss) -> None:
    with pytest.raises(ValueError, match=r"\(3, 4\) and the teacher's \(1, 4\)"):
        loss(STUDENT, TEACHER[:1])  # would broadcast
