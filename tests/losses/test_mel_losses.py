from typing import Any

import numpy as np
import pytest
import torch

from kd_lightning.losses.mel import mel_l1, mel_mse

GENERATOR = torch.Generator().manual_seed(0)
SAID, WANTED = torch.randn(2, 3, 8, 11, generator=GENERATOR).mul(3)
FRAMES = torch.tensor([11, 4, 7])
BOTH = pytest.mark.parametrize("loss", [mel_l1, mel_mse])


def test_they_equal_their_definitions_in_float64_over_valid_frames() -> None:
    pairs = zip(SAID.double().numpy(), WANTED.double().numpy(), FRAMES.tolist(), strict=True)
    differences = np.concatenate([(said - wanted)[:, :frames].ravel() for said, wanted, frames in pairs])
    absolute, squared = mel_l1(SAID, WANTED, FRAMES), mel_mse(SAID, WANTED, FRAMES)
    assert absolute.sum.item() == pytest.approx(np.abs(differences).sum(), rel=1e-6)
    assert squared.sum.item() == pytest.approx((differences**2).sum(), rel=1e-6)
    assert absolute.count == squared.count == (11 + 4 + 7) * 8


@BOTH
def test_padding_costs_nothing_and_gets_no_gradient_whatever_it_holds(loss: Any) -> None:
    said = SAID.clone()
    said[1, :, 4:] = torch.inf
    said.requires_grad_()
    summed = loss(said, WANTED, FRAMES)
    torch.testing.assert_close(summed, loss(SAID, WANTED, FRAMES))
    summed.sum.backward()
    assert said.grad is not None
    assert said.grad.isfinite().all()
    assert said.grad[1, :, 4:].eq(0).all()
    assert said.grad[1, :, :4].ne(0).all()


@BOTH
def test_half_precision_is_not_kept_and_other_bins_are_refused(loss: Any) -> None:
    assert loss(SAID.half(), WANTED.half(), FRAMES).sum.dtype == torch.float32
    assert loss(WANTED, WANTED, FRAMES).sum == 0
    assert loss(SAID[:0], WANTED[:0], FRAMES[:0]) == (0.0, 0.0)
    with pytest.raises(ValueError, match=r"\(3, 8, 11\) and the teacher's \(3, 1, 11\)"):
        loss(SAID, WANTED[:, :1], FRAMES)
