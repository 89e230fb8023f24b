"""The likelihood of a flow against densities in float64."""

import math

import pytest
import torch

from kd_lightning.losses.flow import negative_log_likelihood

GENERATOR = torch.Generator().manual_seed(0)
Z = torch.randn(3, 50, generator=GENERATOR)
LOG_DETERMINANT = torch.tensor([3.0, -40.0, 0.5])
SAMPLES = torch.tensor([50, 17, 1])


@pytest.mark.parametrize("sigma", [0.5**0.5, 1.0])
def test_it_is_the_density_of_what_was_scaled(sigma: float) -> None:
    # z = a x of a normal x: x has the density N(0, (sigma / a)^2), and |dz/dx| = a for each sample.
    scale = 3.7
    waveform = 0.2 * Z.double()
    exact = -torch.distributions.Normal(0.0, sigma / scale).log_prob(waveform).sum()
    constant = Z.numel() * math.log(2 * math.pi * sigma**2) / 2
    spread = torch.full((3,), 50 * math.log(scale))
    found = negative_log_likelihood((scale * waveform).float(), spread, torch.full((3,), 50), sigma)
    assert found.sum.item() + constant == pytest.approx(exact.item(), rel=1e-5)
    assert found.count == 150


def test_padding_does_not_count() -> None:
    found = negative_log_likelihood(Z, LOG_DETERMINANT, SAMPLES, 0.8)
    alone = [
        (Z[i, :samples].double().square().sum() / (2 * 0.64) - LOG_DETERMINANT[i]).item()
        for i, samples in enumerate(SAMPLES.tolist())
    ]
    assert found.sum.item() == pytest.approx(sum(alone), rel=1e-5)
    assert found.count == 68
    loud = Z.clone()
    for i, samples in enumerate(SAMPLES.tolist()):
        loud[i, samples:] = torch.nan
    loud.requires_grad_()
    again = negative_log_likelihood(loud, LOG_DETERMINANT, SAMPLES, 0.8)
    assert again == found
    again.sum.backward()
    assert loud.grad is not None
    valid = torch.arange(50) < SAMPLES[:, None]
    torch.testing.assert_close(loud.grad[valid], (Z / 0.64)[valid])
    assert loud.grad[~valid].eq(0).all()


def test_nobody_is_zero_of_zero_and_half_precision_is_not_kept() -> None:
    z = Z.clone().requires_grad_()
    none = negative_log_likelihood(z[:0], LOG_DETERMINANT[:0], SAMPLES[:0])
    none.sum.backward()
    assert (none.sum.item(), none.count.item()) == (0.0, 0.0)
    assert z.grad is not None
    assert z.grad.eq(0).all()
    low = negative_log_likelihood(Z.bfloat16(), LOG_DETERMINANT.bfloat16(), SAMPLES)
    assert low.sum.dtype == low.count.dtype == torch.float32
    assert low == negative_log_likelihood(Z.bfloat16().float(), LOG_DETERMINANT.bfloat16().float(), SAMPLES)
