from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_lightning.losses.alignment_matching import alignment_divergence, alignment_error, average_steps

BOTH = pytest.mark.parametrize("loss", [alignment_divergence, alignment_error])
FRAMES, TOKENS = torch.tensor([23, 11, 5]), torch.tensor([6, 4, 2])


def attention(frames_per_step: int, seed: int) -> Tensor:
    """Of a decoder over 6 tokens, as many as there are in a sentence."""
    steps = -(-23 // frames_per_step)
    logits = torch.randn(3, steps, 6, generator=torch.Generator().manual_seed(seed)).mul(2)
    return logits.masked_fill((torch.arange(6) >= TOKENS[:, None])[:, None], -torch.inf).softmax(dim=-1)


@pytest.mark.parametrize(("own", "coarser"), [(1, 4), (2, 4), (2, 3), (3, 5)])
def test_a_longer_step_is_the_mean_over_its_frames(own: int, coarser: int) -> None:
    fine = attention(own, 0)
    steps = -(-23 // coarser)
    found = average_steps(fine, FRAMES, own, coarser, steps)
    for row, frames in enumerate(FRAMES.tolist()):
        of_frames = fine[row].double().repeat_interleave(own, dim=0)[:frames]
        means = torch.stack([part.mean(dim=0) for part in of_frames.split(coarser)])
        torch.testing.assert_close(found[row, : len(means)].double(), means)
        assert found[row, len(means) :].eq(0).all()


@pytest.mark.parametrize(("ours", "theirs"), [(1, 1), (4, 1), (2, 4), (3, 2)])
def test_they_equal_their_definitions_in_float64(ours: int, theirs: int) -> None:
    student, teacher = attention(ours, 0), attention(theirs, 1)
    coarser, divergence, error, steps = max(ours, theirs), 0.0, 0.0, 0
    for row, (frames, tokens) in enumerate(zip(FRAMES.tolist(), TOKENS.tolist(), strict=True)):
        q, p = (
            [part.mean(dim=0).numpy() for part in each.split(coarser)]
            for each in (
                one[row, :, :tokens].double().repeat_interleave(length, dim=0)[:frames]
                for one, length in ((student, ours), (teacher, theirs))
            )
        )
        steps += len(q)
        divergence += sum((there * np.log(there / here)).sum() for here, there in zip(q, p, strict=True))
        error += sum(((there - here) ** 2).sum() for here, there in zip(q, p, strict=True))
    arguments = (student, teacher, TOKENS, FRAMES, ours, theirs)
    assert alignment_divergence(*arguments).sum.item() == pytest.approx(divergence, rel=1e-4)
    assert alignment_error(*arguments).sum.item() == pytest.approx(error, rel=1e-4)
    assert alignment_divergence(*arguments).count == alignment_error(*arguments).count == steps


@BOTH
def test_the_same_attention_costs_nothing_also_in_longer_steps(loss: Any) -> None:
    coarse = attention(4, 0)
    assert loss(coarse, coarse, TOKENS, FRAMES, 4, 4).sum == 0
    finer = coarse.repeat_interleave(2, dim=1)
    assert loss(coarse, finer, TOKENS, FRAMES, 4, 2).sum.item() == pytest.approx(0, abs=1e-6)
    assert loss(finer, coarse, TOKENS, FRAMES, 2, 4).sum.item() == pytest.approx(0, abs=1e-6)


@BOTH
def test_padding_has_no_gradient_and_autocast_no_rounding(loss: Any) -> None:
    student = attention(2, 0).requires_grad_()
    teacher = attention(4, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = loss(student, teacher, TOKENS, FRAMES, 2, 4)
    torch.testing.assert_close(rounded, loss(student, teacher, TOKENS, FRAMES, 2, 4))
    rounded.sum.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert student.grad[1, 6:].eq(0).all()
    assert student.grad[1, :, 4:].eq(0).all()
    assert loss(student[:0], teacher[:0], TOKENS[:0], FRAMES[:0], 2, 4) == (0.0, 0.0)


@BOTH
def test_other_tokens_or_another_recording_are_refused(loss: Any) -> None:
    with pytest.raises(ValueError, match="the same tokens"):
        loss(attention(1, 0)[:, :, :5], attention(1, 0), TOKENS, FRAMES, 1, 1)
    with pytest.raises(ValueError, match="the same recording"):
        loss(attention(1, 0)[:, :20], attention(1, 0), TOKENS, FRAMES, 1, 1)
