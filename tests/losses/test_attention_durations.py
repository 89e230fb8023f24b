import numpy as np
import pytest
import torch

from kd_lightning.losses.attention_durations import attention_cross_entropy, spoken_tokens

DURATIONS = torch.tensor([[3, 0, 4, 2], [5, 1, 0, 0]])
FRAMES = torch.tensor([9, 6])


@pytest.mark.parametrize(
    ("frames_per_step", "first", "second"),
    [
        (1, [0, 0, 0, 2, 2, 2, 2, 3, 3], [0, 0, 0, 0, 0, 1]),
        # Middles at 1, 3 (where token 0 has ended), 5, 7 and 8.5, and at 1, 3 and 5.
        (2, [0, 2, 2, 3, 3], [0, 0, 1]),
        # Middles at 2, 6 and 8.5 (one frame is left), and at 2 and 5.
        (4, [0, 2, 3], [0, 1]),
    ],
)
def test_a_step_is_the_token_in_its_middle(frames_per_step: int, first: list[int], second: list[int]) -> None:
    spoken = spoken_tokens(DURATIONS, FRAMES, frames_per_step, steps=len(first))
    assert spoken[0].tolist() == first
    assert spoken[1, : len(second)].tolist() == second


def test_cross_entropy_equals_its_definition_in_float64_and_ignores_padding() -> None:
    attention = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0)).softmax(dim=-1)
    exact = attention.double().numpy()
    weights = [*(exact[0, step, token] for step, token in enumerate([0, 2, 2, 3, 3]))]
    weights += [exact[1, step, token] for step, token in enumerate([0, 0, 1])]
    summed = attention_cross_entropy(attention, DURATIONS, FRAMES, 2)
    assert summed.sum.item() == pytest.approx(-np.log(weights).sum(), rel=1e-6)
    assert summed.count == 5 + 3
    padded = torch.nn.functional.pad(attention, (0, 0, 0, 3), value=torch.nan)
    torch.testing.assert_close(attention_cross_entropy(padded, DURATIONS, FRAMES, 2), summed)


def test_the_most_wrong_step_still_has_the_gradient_of_softmax() -> None:
    logits = torch.zeros(1, 1, 2)
    logits[0, 0, 1] = 60.0
    logits.requires_grad_()
    one, alone = torch.tensor([[1, 0]]), torch.tensor([1])
    summed = attention_cross_entropy(logits.softmax(dim=-1), one, alone, 1)
    summed.sum.backward()
    assert summed.sum.item() == pytest.approx(60.0)
    assert logits.grad is not None
    assert logits.grad.flatten().tolist() == pytest.approx([-1.0, 1.0])
    nothing = attention_cross_entropy(torch.tensor([[[0.0, 1.0]]]), one, alone, 1)
    assert nothing.sum.item() == pytest.approx(-np.log(np.finfo(np.float32).tiny))
