"""The convolution over channels that can be undone, against linear algebra in float64."""

import numpy as np
import pytest
import torch

from kd_lightning.models.invertible_convolution import InvertibleConvolution


def stirred(channels: int) -> InvertibleConvolution:
    convolution = InvertibleConvolution(channels)
    with torch.no_grad():
        convolution.weight.add_(0.2 * torch.randn_like(convolution.weight) / channels**0.5)
    return convolution


@pytest.mark.parametrize("channels", [2, 8, 256])
def test_at_first_it_is_a_rotation_that_changes_no_volume(channels: int) -> None:
    convolution = InvertibleConvolution(channels)
    torch.testing.assert_close(
        convolution.weight @ convolution.weight.T, torch.eye(channels), atol=1e-5, rtol=0
    )
    signal = torch.randn(3, channels, 10)
    mixed, spread = convolution(signal)
    torch.testing.assert_close(mixed.norm(dim=1), signal.norm(dim=1))
    assert spread.item() == pytest.approx(0.0, abs=1e-4)
    assert not torch.allclose(mixed, signal, atol=0.1)


@pytest.mark.parametrize("channels", [2, 8, 256])
def test_it_mixes_each_position_alone_and_spreads_by_its_determinant(channels: int) -> None:
    convolution, signal = stirred(channels), torch.randn(3, channels, 10)
    mixed, spread = convolution(signal)
    matrix = convolution.weight.detach().numpy().astype(np.float64)
    expected = np.einsum("ij,bjn->bin", matrix, signal.numpy().astype(np.float64))
    np.testing.assert_allclose(mixed.detach().numpy(), expected, atol=1e-5)
    assert spread.item() == pytest.approx(np.linalg.slogdet(matrix)[1], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("channels", [2, 8, 256])
def test_it_is_undone_by_the_inverse_fused_or_not(channels: int) -> None:
    convolution, signal = stirred(channels), torch.randn(3, channels, 10)
    mixed = convolution(signal)[0]
    torch.testing.assert_close(convolution.inverse(mixed), signal, atol=1e-4, rtol=0)
    convolution.fuse()
    torch.testing.assert_close(convolution.inverse(mixed), signal, atol=1e-4, rtol=0)


def test_the_inverse_that_was_fused_is_no_weight() -> None:
    convolution = stirred(4)
    before = set(convolution.state_dict())
    convolution.fuse()
    assert set(convolution.state_dict()) == before == {"weight"}
    assert convolution.to(torch.float64).inverted.dtype == torch.float64


def test_autocast_does_not_round() -> None:
    convolution, signal = stirred(8), torch.randn(3, 8, 10)
    exact, volume = convolution(signal)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, spread = convolution(signal)
        back = convolution.inverse(mixed)
    assert mixed.dtype == spread.dtype == back.dtype == torch.float32
    assert torch.equal(mixed, exact)
    assert torch.equal(spread, volume)
    torch.testing.assert_close(back, signal, atol=1e-5, rtol=0)
