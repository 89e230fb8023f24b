"""Distillation losses on logits: closed forms in float64 and the properties that they are chosen for."""

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_lightning.losses.logits import (
    decoupled,
    hard_labels,
    mean_squared_error,
    soft_targets,
    standardised_logits,
)
from kd_lightning.losses.summed import Summed

Loss = Callable[..., Summed]

STUDENT = torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.0, 3.0, -2.0, 1.0], [-0.5, 0.25, 4.0, 1.5]])
TEACHER = torch.tensor([[4.0, -3.0, 1.0, 0.5], [1.0, 1.5, -4.0, 6.0], [0.0, 0.0, 2.0, -1.0]])
TARGET = torch.tensor([0, 1, 2])  # the teacher says 0, 3, 2


def decoupled_here(student: Tensor, teacher: Tensor) -> Summed:
    return decoupled(student, teacher, TARGET[: len(student)])


ALL = pytest.mark.parametrize(
    "loss", [soft_targets, standardised_logits, mean_squared_error, hard_labels, decoupled_here]
)
IMITATIONS = pytest.mark.parametrize(
    "loss", [soft_targets, standardised_logits, mean_squared_error, decoupled_here]
)


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


def parts_float64(temperature: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """TCKD, NCKD and the teacher's probability of the target, an item each."""
    p, q = softmax(float64(TEACHER) / temperature), softmax(float64(STUDENT) / temperature)
    rows = np.arange(3)
    p_t, q_t = p[rows, TARGET], q[rows, TARGET]
    target_class = p_t * np.log(p_t / q_t) + (1 - p_t) * np.log((1 - p_t) / (1 - q_t))
    others = np.zeros(3)
    for row in rows:
        for c in set(range(4)) - {int(TARGET[row])}:
            ours, theirs = q[row, c] / (1 - q_t[row]), p[row, c] / (1 - p_t[row])
            others[row] += theirs * np.log(theirs / ours)
    return target_class, others, p_t


@pytest.mark.parametrize(
    ("alpha", "beta", "temperature"), [(1.0, 2.0, 4.0), (0.5, 1.0, 1.0), (0.0, 1.0, 2.0)]
)
def test_decoupled_equals_its_definition_in_float64(alpha: float, beta: float, temperature: float) -> None:
    target_class, others, _ = parts_float64(temperature)
    ours = decoupled(STUDENT, TEACHER, TARGET, alpha, beta, temperature)
    expected = temperature**2 * (alpha * target_class + beta * others).sum()
    assert ours.sum.item() == pytest.approx(expected, rel=1e-5)
    assert ours.count == 3


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_soft_targets_are_the_target_class_and_a_share_of_the_others(temperature: float) -> None:
    # KD = TCKD + (1 - p_t) NCKD (Zhao et al. 2022, eq. 5), item by item: exact for the definitions in float64,
    target_class, others, p_t = parts_float64(temperature)
    p, q = softmax(float64(TEACHER) / temperature), softmax(float64(STUDENT) / temperature)
    np.testing.assert_allclose(target_class + (1 - p_t) * others, (p * np.log(p / q)).sum(axis=1), rtol=1e-12)
    # and of ours with beta = 1 - p_t.
    for row in range(3):
        one = slice(row, row + 1)
        split = decoupled(STUDENT[one], TEACHER[one], TARGET[one], 1.0, float(1 - p_t[row]), temperature)
        torch.testing.assert_close(split, soft_targets(STUDENT[one], TEACHER[one], temperature))


def test_decoupled_golden_values() -> None:
    # The teacher (1/2, 1/4, 1/4), the student uniform: TCKD of (1/2, 1/2) and (1/3, 2/3), NCKD 0.
    teacher, student = torch.tensor([[2.0, 1.0, 1.0]]).log(), torch.zeros(1, 3)
    expected = 0.5 * np.log(1.5) + 0.5 * np.log(0.75)
    loss = functools.partial(decoupled, alpha=1.0, beta=7.0, temperature=1.0)
    assert loss(student, teacher, torch.tensor([0])).sum.item() == pytest.approx(expected, rel=1e-5)
    # With the second class as the target: TCKD of (1/4, 3/4) and (1/3, 2/3), NCKD of (2/3, 1/3) and (1/2, 1/2).
    expected = 0.25 * np.log(0.75) + 0.75 * np.log(9 / 8)
    expected += 7 * (2 / 3 * np.log(4 / 3) + 1 / 3 * np.log(2 / 3))
    assert loss(student, teacher, torch.tensor([1])).sum.item() == pytest.approx(expected, rel=1e-5)
    # Of two classes one is the target, so the others say nothing.
    assert loss(STUDENT[:, :2], TEACHER[:, :2], TARGET % 2, alpha=0.0).sum.item() == pytest.approx(
        0, abs=1e-6
    )


def test_decoupled_stays_finite_for_a_teacher_that_is_certain() -> None:
    certain = torch.tensor([[200.0, 0.0, -100.0, 0.0]])
    student = torch.zeros(1, 4, requires_grad=True)
    loss = decoupled(student, certain, torch.tensor([0]), temperature=1.0).sum
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


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
    if loss is decoupled_here:
        parts = [decoupled(*(side[row : row + 1] for side in (STUDENT, TEACHER, TARGET))) for row in range(3)]
    else:
        parts = [loss(STUDENT[row : row + 1], TEACHER[row : row + 1]) for row in range(3)]
    torch.testing.assert_close(whole.sum, sum(part.sum for part in parts))
    assert whole.count == sum(part.count for part in parts) == 3


@ALL
def test_an_empty_batch_is_zero_of_zero(loss: Loss) -> None:
    student = STUDENT.clone().requires_grad_()
    none = loss(student[:0], TEACHER[:0])
    none.sum.backward()
    assert (none.sum.item(), none.count.item()) == (0.0, 0.0)
    assert student.grad is not None
    assert student.grad.eq(0).all()


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
