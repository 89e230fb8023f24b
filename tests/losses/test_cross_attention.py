"""Where two decoders look: divergence and error of weights over frames, in float64."""

from typing import Any

import numpy as np
import pytest
import torch

from kd_lightning.losses.cross_attention import attention_divergence, attention_error

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = torch.randn(2, 6, 9, generator=GENERATOR).mul(2).softmax(dim=-1)
BOTH = pytest.mark.parametrize("loss", [attention_divergence, attention_error])


def test_they_equal_their_definitions_in_float64() -> None:
    q, p = STUDENT.double().numpy(), TEACHER.double().numpy()
    divergence, error = attention_divergence(STUDENT, TEACHER), attention_error(STUDENT, TEACHER)
    assert divergence.sum.item() == pytest.approx((p * np.log(p / q)).sum(), rel=1e-5)
    assert error.sum.item() == pytest.approx(((p - q) ** 2).sum(), rel=1e-5)
    assert divergence.count == error.count == 6


@BOTH
def test_looking_at_the_same_frames_costs_nothing_and_padding_neither(loss: Any) -> None:
    assert loss(TEACHER, TEACHER).sum == 0
    student = torch.nn.functional.pad(STUDENT, (0, 4)).requires_grad_()
    padded = loss(student, torch.nn.functional.pad(TEACHER, (0, 4)))
    torch.testing.assert_close(padded, loss(STUDENT, TEACHER))
    padded.sum.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad[:, 9:].eq(0).all()


def test_looking_elsewhere_stays_finite() -> None:
    here, there = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert attention_error(here, there).sum == 2
    assert attention_divergence(here, there).sum.item() == pytest.approx(np.log(1e8), rel=1e-4)


@BOTH
def test_no_token_is_zero_of_zero_and_half_precision_is_not_kept(loss: Any) -> None:
    student = STUDENT.clone().requires_grad_()
    none = loss(student[:0], TEACHER[:0])
    none.sum.backward()
    assert (none.sum.item(), none.count.item()) == (0.0, 0.0)
    assert student.grad is not None
    assert student.grad.eq(0).all()
    assert loss(STUDENT.half(), TEACHER.half()).sum.dtype == torch.float32
    with pytest.raises(ValueError, match=r"\(6, 9\) and the teacher's \(1, 9\)"):
        loss(STUDENT, TEACHER[:1])
