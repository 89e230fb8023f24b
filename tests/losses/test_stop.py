import numpy as np
import pytest
import torch

from kd_lightning.losses.stop import stop_cross_entropy

LOGITS = torch.randn(3, 9, generator=torch.Generator().manual_seed(0)).mul(4)
STEPS = torch.tensor([9, 1, 5])


@pytest.mark.parametrize("weight", [1.0, 6.0])
def test_it_equals_its_definition_in_float64(weight: float) -> None:
    expected = 0.0
    for logits, steps in zip(LOGITS.double().numpy(), STEPS.tolist(), strict=True):
        stops = 1 / (1 + np.exp(-logits))
        expected -= np.log(1 - stops[: steps - 1]).sum() + weight * np.log(stops[steps - 1])
    summed = stop_cross_entropy(LOGITS, STEPS, weight)
    assert summed.sum.item() == pytest.approx(expected, rel=1e-5)
    assert summed.count == 9 + 1 + 5


def test_an_untrained_decoder_costs_ln_2_a_step_and_one_that_knows_nothing() -> None:
    summed = stop_cross_entropy(torch.zeros(3, 9), STEPS)
    assert (summed.sum / summed.count).item() == pytest.approx(np.log(2))
    last = torch.arange(9) == STEPS[:, None] - 1
    assert stop_cross_entropy(last.where(last, -1.0) * 60, STEPS).sum < 1e-6


def test_what_a_decoder_says_after_its_end_does_not_count() -> None:
    logits = LOGITS.clone().index_put_((torch.tensor([1]), torch.tensor([5])), torch.tensor(torch.inf))
    logits.requires_grad_()
    summed = stop_cross_entropy(logits, STEPS)
    torch.testing.assert_close(summed, stop_cross_entropy(LOGITS, STEPS))
    summed.sum.backward()
    assert logits.grad is not None
    assert logits.grad[1, 1:].eq(0).all()
    assert stop_cross_entropy(LOGITS.half(), STEPS).sum.dtype == torch.float32
