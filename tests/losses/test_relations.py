"""Relations inside a batch: sums over pairs, triplets and rows, written out in float64."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_lightning.losses.relations import angles, distances, similarities
from kd_lightning.losses.summed import Summed

Loss = Callable[[Tensor, Tensor], Summed]

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = torch.randn(5, 4, generator=GENERATOR)
TEACHER = torch.randn(5, 7, generator=GENERATOR)
ALL = pytest.mark.parametrize("loss", [distances, angles, similarities])


def huber(difference: float) -> float:
    return 0.5 * difference**2 if abs(difference) <= 1 else abs(difference) - 0.5


def float64(items: Tensor) -> np.ndarray:
    return items.flatten(1).numpy().astype(np.float64)


def distances_float64(student: Tensor, teacher: Tensor) -> tuple[float, int]:
    def relative(items: np.ndarray) -> np.ndarray:
        every = np.array([np.linalg.norm(a - b) for a, b in itertools.combinations(items, 2)])
        return every / every.mean()

    pairs = list(zip(relative(float64(student)), relative(float64(teacher)), strict=True))
    return sum(huber(s - t) for s, t in pairs), len(pairs)


def angles_float64(student: Tensor, teacher: Tensor) -> tuple[float, int]:
    def cosine(items: np.ndarray, i: int, j: int, k: int) -> float:
        one, two = items[i] - items[j], items[k] - items[j]
        return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))

    triplets = [(i, j, k) for j in range(len(student)) for i in range(len(student)) for k in range(i)]
    triplets = [(i, j, k) for i, j, k in triplets if j not in (i, k)]
    s, t = float64(student), float64(teacher)
    return sum(huber(cosine(s, *at) - cosine(t, *at)) for at in triplets), len(triplets)


def similarities_float64(student: Tensor, teacher: Tensor) -> tuple[float, int]:
    def rows(items: np.ndarray) -> np.ndarray:
        gram = items @ items.T
        return gram / np.linalg.norm(gram, axis=1, keepdims=True)

    return float(((rows(float64(student)) - rows(float64(teacher))) ** 2).sum()), len(student)


DEFINITIONS = pytest.mark.parametrize(
    ("loss", "definition"),
    [(distances, distances_float64), (angles, angles_float64), (similarities, similarities_float64)],
)


@DEFINITIONS
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_each_equals_its_definition_in_float64(loss: Loss, definition: Callable, scale: float) -> None:
    student = STUDENT.clone()
    student[0] *= scale  # far out: the linear part of the Huber loss
    expected, count = definition(student, TEACHER)
    ours = loss(student, TEACHER)
    assert ours.sum.item() == pytest.approx(expected, rel=1e-5)
    assert ours.count == count


@DEFINITIONS
def test_activations_are_flattened(loss: Loss, definition: Callable) -> None:
    student = torch.randn(4, 3, 5, generator=GENERATOR)
    teacher = torch.randn(4, 2, 3, 4, generator=GENERATOR)
    assert loss(student, teacher).sum.item() == pytest.approx(definition(student, teacher)[0], rel=1e-5)


def test_golden_values() -> None:
    # A right isosceles triangle against an equilateral one.
    right = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    equilateral = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])
    short = 1 / ((2 + 2**0.5) / 3)
    expected = 2 * huber(short - 1) + huber(2**0.5 * short - 1)
    assert distances(right, equilateral).sum.item() == pytest.approx(expected, rel=1e-5)
    expected = huber(0 - 0.5) + 2 * huber(0.5**0.5 - 0.5)
    assert angles(right, equilateral).sum.item() == pytest.approx(expected, rel=1e-5)
    # Two alike items against two that have nothing in common: rows (1, 1) / sqrt 2 against unit vectors.
    alike, apart = torch.ones(2, 3), torch.eye(2)
    assert similarities(alike, apart).sum.item() == pytest.approx(2 * (2 - 2**0.5), rel=1e-6)


@ALL
def test_a_batch_moved_turned_or_scaled_has_the_same_relations(loss: Loss) -> None:
    turn, _ = torch.linalg.qr(torch.randn(7, 7, generator=GENERATOR))
    moved = 3 * TEACHER @ turn + (0 if loss is similarities else 1)  # a similarity is an angle at the origin
    assert loss(moved, TEACHER).sum.item() == pytest.approx(0, abs=1e-6)
    assert loss(STUDENT, TEACHER).sum.item() > 0.1


@ALL
@pytest.mark.parametrize("items", [0, 1, 2])
def test_items_without_a_relation_count_nothing_and_keep_the_gradient(loss: Loss, items: int) -> None:
    student = STUDENT[:items].clone().requires_grad_()
    result = loss(student, TEACHER[:items])
    assert result.count == {distances: [0, 0, 1], angles: [0, 0, 0], similarities: [0, 0, 2]}[loss][items]
    result.sum.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    if result.count == 0:
        assert result.sum == 0
        assert student.grad.eq(0).all()


@ALL
def test_equal_items_give_finite_gradients_of_ordinary_size(loss: Loss) -> None:
    student = STUDENT.clone()
    student[1] = student[0]  # two clips of digital silence
    student[2] = 0.0
    student.requires_grad_()
    loss(student, TEACHER).sum.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 10


@ALL
def test_float32_under_autocast(loss: Loss) -> None:
    student, teacher = STUDENT.bfloat16(), TEACHER.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = loss(student, teacher)
    assert result.sum.dtype == result.count.dtype == torch.float32
    torch.testing.assert_close(result, loss(student.float(), teacher.float()))


@ALL
def test_batches_of_other_sizes_are_refused(loss: Loss) -> None:
    with pytest.raises(ValueError, match="5 items and the teacher's of 4"):
        loss(STUDENT, TEACHER[:4])
