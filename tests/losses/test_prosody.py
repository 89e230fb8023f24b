import numpy as np
import pytest
import torch

from kd_lightning.losses.prosody import duration_error, token_error

GENERATOR = torch.Generator().manual_seed(0)
SAID = torch.randn(2, 5, generator=GENERATOR)
DURATIONS = torch.tensor([[1, 0, 7, 30, 2], [4, 5, 0, 0, 0]])
TOKENS = torch.tensor([5, 2])


def test_durations_are_compared_as_logarithms_in_float64() -> None:
    exact = SAID.double().numpy() - np.log(1 + DURATIONS.double().numpy())
    summed = duration_error(SAID, DURATIONS, TOKENS)
    assert summed.sum.item() == pytest.approx((exact[0] ** 2).sum() + (exact[1, :2] ** 2).sum(), rel=1e-5)
    assert summed.count == 7
    assert duration_error((1 + DURATIONS).log(), DURATIONS, TOKENS).sum < 1e-10


def test_pitch_and_energy_are_compared_as_they_are_where_there_are_tokens() -> None:
    wanted = torch.randn(2, 5, generator=GENERATOR)
    exact = SAID.double().numpy() - wanted.double().numpy()
    said = SAID.clone()
    said[1, 2:] = torch.nan
    said.requires_grad_()
    summed = token_error(said, wanted, TOKENS)
    assert summed.sum.item() == pytest.approx((exact[0] ** 2).sum() + (exact[1, :2] ** 2).sum(), rel=1e-5)
    assert summed.count == 7
    summed.sum.backward()
    assert said.grad is not None
    assert said.grad[1, 2:].eq(0).all()


def test_half_precision_is_not_kept_and_other_shapes_are_refused() -> None:
    assert duration_error(SAID.half(), DURATIONS, TOKENS).sum.dtype == torch.float32
    with pytest.raises(ValueError, match=r"\(2, 5\) and the teacher's \(2, 1\)"):
        duration_error(SAID, DURATIONS[:, :1], TOKENS)
