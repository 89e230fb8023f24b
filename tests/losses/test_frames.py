"""Which frames of a CTC teacher count, and the losses made for its spikes."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from kd_lightning.losses.frames import best_match, guided, posterior_error, select

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(2, 6, 4, generator=GENERATOR)

# First choices of a teacher: blanks, a spike, blanks, two frames of another token, then padding.
CHOICES = torch.tensor([[0, 2, 0, 0, 0, 1, 1, 0, 3, 3], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]])
LOGITS = functional.one_hot(CHOICES, 4).float()
VALID = torch.arange(10) < torch.tensor([8, 10])[:, None]


def frames(**selection: Any) -> list[list[int]]:
    return [row.nonzero().flatten().tolist() for row in select(LOGITS, VALID, **selection)]


def test_frames_that_count() -> None:
    assert frames(frames="all") == [list(range(8)), list(range(10))]
    assert frames(frames="non_blank") == [[1, 5, 6], []]
    assert frames(frames="symmetric", neighbours=0) == [[1, 5, 6], []]
    assert frames(frames="symmetric", neighbours=1) == [[0, 1, 2, 4, 5, 6, 7], []]
    assert frames(frames="symmetric", neighbours=9) == [list(range(8)), []]


def test_neighbours_are_those_at_a_distance() -> None:
    teacher = torch.randn(3, 20, 5, generator=GENERATOR)
    teacher[..., 0] += 2.0  # mostly blank
    valid = torch.arange(20) < torch.tensor([20, 11, 1])[:, None]
    spikes = valid & teacher.argmax(dim=-1).ne(0)
    for neighbours in (1, 2, 5):
        expected = [
            [bool(valid[b, t]) and any(spikes[b, s] for s in range(20) if abs(s - t) <= neighbours) for t in range(20)]
            for b in range(3)
        ]  # fmt: skip
        assert select(teacher, valid, "symmetric", neighbours).tolist() == expected


def test_selections_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="frames=some of a transfer term: set one of all, non_blank, symm"):
        select(LOGITS, VALID, "some")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="neighbours=-1"):
        select(LOGITS, VALID, "symmetric", -1)


def test_the_best_match_is_found_as_by_looking_at_every_frame() -> None:
    student, teacher = torch.randn(2, 3, 9, 4, generator=GENERATOR)
    lengths = torch.tensor([9, 5, 2])
    for tolerance in (0, 1, 3, 20):
        places = best_match(student, teacher, torch.arange(9) < lengths[:, None], tolerance)
        for b, length in enumerate(lengths.tolist()):
            for t in range(length):
                near = range(max(0, t - tolerance), min(length, t + tolerance + 1))
                errors = [((student[b, s] - teacher[b, t]).double() ** 2).sum().item() for s in near]
                assert places[b, t] == near[int(np.argmin(errors))]


def test_of_equal_frames_the_nearest_in_time_matches_and_the_earlier_first() -> None:
    blank, token = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    teacher = torch.stack([blank, blank, token, blank, blank])[None]
    student = torch.stack([blank, token, blank, token, token])[None]
    places = best_match(student, teacher, torch.ones(1, 5, dtype=torch.bool), 2)
    assert places.tolist() == [[0, 0, 1, 2, 2]]


def test_posterior_error_equals_its_definition_in_float64() -> None:
    def softmax(rows: np.ndarray) -> np.ndarray:
        return np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)

    ours, theirs = (softmax(side.numpy().astype(np.float64)) for side in (STUDENT, TEACHER))
    summed = posterior_error(STUDENT, TEACHER)
    assert summed.sum.item() == pytest.approx(((ours - theirs) ** 2).sum(), rel=1e-5)
    assert summed.count == 6
    apart = torch.tensor([[100.0, 0.0]])
    assert posterior_error(apart, apart.flip(1)).sum == 2
    assert posterior_error(TEACHER, TEACHER).sum == 0


def test_guided_raises_the_posterior_of_the_teachers_spike() -> None:
    student = STUDENT.clone().requires_grad_()
    summed = guided(student, TEACHER)
    summed.sum.backward()
    p = STUDENT.double().softmax(dim=-1)
    spikes = functional.one_hot(TEACHER.argmax(dim=-1), 4).double()
    chosen = (p * spikes).sum(dim=-1, keepdim=True)
    assert summed.sum.item() == pytest.approx((1 - chosen).sum().item(), rel=1e-6)
    assert summed.count == 6
    # d(-p_k)/dz = p_k (p - one_hot(k)), as of the paper's -sum of masked posteriors.
    torch.testing.assert_close(student.grad, (chosen * (p - spikes)).float())


@pytest.mark.parametrize("loss", [posterior_error, guided])
def test_no_frame_is_zero_of_zero_and_half_precision_is_not_kept(loss: Any) -> None:
    student = STUDENT.clone().requires_grad_()
    none = loss(student[:0], TEACHER[:0])
    none.sum.backward()
    assert (none.sum.item(), none.count.item()) == (0.0, 0.0)
    assert student.grad is not None
    assert student.grad.eq(0).all()
    low = STUDENT.bfloat16(), TEACHER.bfloat16()
    assert loss(*low).sum.dtype == torch.float32
    torch.testing.assert_close(loss(*low), loss(*(side.float() for side in low)))
    with pytest.raises(ValueError, match=r"\(6, 4\) and the teacher's \(1, 4\)"):
        loss(STUDENT, TEACHER[:1])
