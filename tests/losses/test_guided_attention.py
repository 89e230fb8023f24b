import numpy as np
import pytest
import torch

from kd_lightning.losses.guided_attention import guided_attention

GENERATOR = torch.Generator().manual_seed(0)
ATTENTION = torch.randn(3, 12, 7, generator=GENERATOR).softmax(dim=-1)
TOKENS, STEPS = torch.tensor([7, 3, 5]), torch.tensor([12, 12, 6])


def test_it_equals_the_definition_of_the_paper_in_float64() -> None:
    expected = 0.0
    for attention, tokens, steps in zip(
        ATTENTION.double().numpy(), TOKENS.tolist(), STEPS.tolist(), strict=True
    ):
        for step in range(steps):
            for token in range(tokens):
                far = 1 - np.exp(-((token / tokens - step / steps) ** 2) / (2 * 0.2**2))
                expected += attention[step, token] * far
    summed = guided_attention(ATTENTION, TOKENS, STEPS)
    assert summed.sum.item() == pytest.approx(expected, rel=1e-5)
    assert summed.count == 7 * 12 + 3 * 12 + 5 * 6


def test_the_diagonal_is_free_and_the_farthest_corner_costs_nearly_1() -> None:
    diagonal = torch.eye(8)[None]
    size = torch.tensor([8])
    assert guided_attention(diagonal, size, size).sum == 0
    # Every step looks at the first token: at step s of 8 it is s / 8 of the sentence off.
    stuck = torch.zeros(1, 8, 8)
    stuck[:, :, 0] = 1
    expected = (1 - np.exp(-((np.arange(8) / 8) ** 2) / 0.08)).sum()
    assert guided_attention(stuck, size, size).sum.item() == pytest.approx(expected, rel=1e-5)
    assert guided_attention(stuck, size, size, width=0.02).sum.item() == pytest.approx(7, abs=1e-4)


def test_padding_does_not_count() -> None:
    padded = torch.nn.functional.pad(ATTENTION, (0, 3, 0, 5), value=torch.inf).requires_grad_()
    summed = guided_attention(padded, TOKENS, STEPS)
    torch.testing.assert_close(summed, guided_attention(ATTENTION, TOKENS, STEPS))
    summed.sum.backward()
    assert padded.grad is not None
    assert padded.grad.isfinite().all()
    assert padded.grad[2, 6:].eq(0).all()
    assert guided_attention(ATTENTION.half(), TOKENS, STEPS).sum.dtype == torch.float32
