"""Flows from waveforms to noise: they can be undone, their determinant is autograd's, and padding is unheard."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from flows import stirred
from torch import Tensor

from kd_lightning.losses.flow import negative_log_likelihood
from kd_lightning.models.squeeze_wave import SqueezeWave
from kd_lightning.models.waveform_flow import WaveformFlow
from kd_lightning.models.waveglow import WaveGlow

BINS, HOP = 5, 16
SIZES = {"flows": 5, "early_every": 2, "early_channels": 2, "layers": 3, "channels": 6}
Make = Callable[..., WaveformFlow]


def waveglow(**sizes: object) -> WaveGlow:
    return WaveGlow(BINS, HOP, **({"group": 8} | SIZES | sizes))  # type: ignore[arg-type]


def squeeze_wave(**sizes: object) -> SqueezeWave:
    return SqueezeWave(BINS, HOP, **({"group": 8} | SIZES | sizes))  # type: ignore[arg-type]


def heard(batch: int, frames: int) -> tuple[Tensor, Tensor]:
    """Waveforms and mels of the usual sizes."""
    return 0.3 * torch.randn(batch, frames * HOP), 2 * torch.randn(batch, BINS, frames) - 5


every_flow = pytest.mark.parametrize("make", [waveglow, squeeze_wave])


@every_flow
@torch.no_grad()
def test_the_inverse_of_the_flow_is_the_waveform_and_the_other_way_round(make: Make) -> None:
    network, (waveform, mel) = stirred(make()), heard(2, 40)
    z = network.flow(waveform, mel).z
    assert (z - waveform).abs().mean() > 0.1
    torch.testing.assert_close(network.inverse(z, mel), waveform, atol=1e-4, rtol=0)
    noise = torch.randn(2, 40 * HOP)
    torch.testing.assert_close(network.flow(network.inverse(noise, mel), mel).z, noise, atol=1e-4, rtol=0)


@every_flow
def test_at_first_it_rotates_and_changes_no_volume(make: Make) -> None:
    network, (waveform, mel) = make(), heard(2, 7)
    output = network.flow(waveform, mel)
    torch.testing.assert_close(output.z.norm(dim=1), waveform.norm(dim=1))
    torch.testing.assert_close(output.log_determinant, torch.zeros(2), atol=1e-4, rtol=0)


@every_flow
def test_the_log_determinant_is_that_of_autograds_jacobian_in_float64(make: Make) -> None:
    network, (waveform, mel) = stirred(make()).double(), heard(1, 3)
    waveform, mel = waveform.double(), mel.double()
    jacobian = torch.autograd.functional.jacobian(lambda x: network.flow(x, mel).z[0], waveform)
    expected = torch.linalg.slogdet(jacobian.squeeze(1)).logabsdet
    assert abs(expected.item()) > 0.1
    found = network.flow(waveform, mel).log_determinant
    torch.testing.assert_close(found[0], expected, atol=1e-9, rtol=0)
    # With padding it is the determinant of what is not padding.
    length = torch.tensor([2])
    output = network.flow(waveform, mel, length)
    jacobian = torch.autograd.functional.jacobian(lambda x: network.flow(x, mel, length).z[0], waveform)
    block = jacobian[: 2 * HOP, 0, : 2 * HOP]
    torch.testing.assert_close(output.log_determinant[0], torch.linalg.slogdet(block).logabsdet)
    assert jacobian[2 * HOP :].eq(0).all()


@every_flow
@torch.no_grad()
def test_an_utterance_is_the_same_alone_and_in_a_ragged_batch(make: Make) -> None:
    network, (waveform, mel) = stirred(make()), heard(3, 11)
    lengths = torch.tensor([11, 4, 1])
    output, spoken = network.flow(waveform, mel, lengths), network.inverse(waveform, mel, lengths)
    assert output.samples.tolist() == [11 * HOP, 4 * HOP, HOP]
    for i, frames in enumerate(lengths.tolist()):
        samples = frames * HOP
        own = waveform[i : i + 1, :samples], mel[i : i + 1, :, :frames]
        alone = network.flow(*own)
        torch.testing.assert_close(output.z[i, :samples], alone.z[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(output.log_determinant[i], alone.log_determinant[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(spoken[i, :samples], network.inverse(*own)[0], rtol=1e-4, atol=1e-4)
        assert output.z[i, samples:].eq(0).all()
        assert spoken[i, samples:].eq(0).all()


@every_flow
@torch.no_grad()
def test_positions_stay_in_their_place(make: Make) -> None:
    # With kernels of one position nothing of another is heard, and a group of z is that of the waveform.
    network, (waveform, mel) = stirred(make(kernel=1)), heard(1, 4)
    louder = waveform.clone()
    louder[0, 24:32] += 1
    moved = (network.flow(louder, mel).z != network.flow(waveform, mel).z)[0].unflatten(0, (-1, 8)).any(dim=1)
    assert moved.nonzero().flatten().tolist() == [3]


@every_flow
@torch.no_grad()
def test_what_it_says_is_drawn_from_torchs_generator(make: Make) -> None:
    network, (_, mel) = stirred(make()), heard(2, 6)
    said = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        said.append(network(mel))
    assert said[0].shape == (2, 6 * HOP)
    assert said[0].dtype == torch.float32
    assert torch.equal(said[0], said[1])
    assert not torch.allclose(said[0], said[2], atol=0.1)
    torch.manual_seed(0)
    noise = torch.randn(2, 6 * HOP)
    assert torch.equal(said[0], network.inverse(network.sigma * noise, mel))
    network.sigma = 0.0
    assert torch.equal(network(mel), network(mel))


@every_flow
def test_fused_it_says_the_same_with_fewer_tensors(make: Make) -> None:
    network, (waveform, mel) = stirred(make()), heard(2, 6)
    spoken = network.inverse(waveform, mel)
    network.requires_grad_(False)  # as a frozen teacher is
    tensors = len(network.state_dict())
    assert network.fuse() is network
    torch.testing.assert_close(network.inverse(waveform, mel), spoken)
    assert len(network.state_dict()) < tensors
    assert all(
        isinstance(weights, torch.nn.Parameter) for weights in network.state_dict(keep_vars=True).values()
    )
    assert not any(weights.requires_grad for weights in network.parameters())


@every_flow
def test_a_copy_may_be_fused_and_the_network_goes_on_learning(make: Make) -> None:
    network, (noise, mel) = stirred(make()), heard(2, 6)
    tensors = len(network.state_dict())
    copied = deepcopy(network).fuse()
    torch.testing.assert_close(copied.inverse(noise, mel), network.inverse(noise, mel))
    assert len(network.state_dict()) == tensors
    network.inverse(noise, mel).sum().backward()
    assert all(weights.grad is not None for weights in network.cores.parameters())


@every_flow
@torch.no_grad()
def test_under_autocast_cores_are_rounded_but_neither_signal_nor_determinant(make: Make) -> None:
    network, (waveform, mel) = stirred(make()), heard(2, 60)
    said: list[Tensor] = []
    for core in network.cores:
        core.register_forward_hook(lambda _core, _inputs, output: said.append(output))
    with torch.autocast("cpu", torch.bfloat16):
        output = network.flow(waveform, mel)
    assert {affine.dtype for affine in said} == {torch.bfloat16}
    expected = sum(affine.double().chunk(2, dim=1)[1].sum(dim=(1, 2)) for affine in said)
    for convolution in network.convolutions:
        expected = expected + said[0].shape[2] * torch.linalg.slogdet(convolution.weight.double()).logabsdet
    assert output.z.dtype == output.log_determinant.dtype == torch.float32
    torch.testing.assert_close(output.log_determinant.double(), expected, rtol=1e-5, atol=1e-3)


@every_flow
def test_every_weight_learns_from_recordings_and_from_what_it_says(make: Make) -> None:
    waveform, mel = heard(2, 12)

    def likelihood(network: WaveformFlow) -> Tensor:
        return negative_log_likelihood(*network.flow(waveform, mel)).sum

    for loss in (likelihood, lambda network: network(mel).square().sum()):
        network = stirred(make())
        loss(network).backward()
        idle = [name for name, weights in network.named_parameters() if not weights.grad.any()]  # type: ignore[union-attr]
        assert idle == []


@every_flow
def test_sizes_that_fit_nothing_are_refused(make: Make) -> None:
    with pytest.raises(ValueError, match="group=6 samples do not fill frames of 16"):
        make(group=6)
    with pytest.raises(ValueError, match="early_channels=3: set even numbers"):
        make(early_channels=3)
    with pytest.raises(ValueError, match="8 channels would leave in 5 flows"):
        make(early_channels=4)
    with pytest.raises(ValueError, match="odd"):
        make(kernel=2)
    waveform, mel = heard(1, 3)
    with pytest.raises(ValueError, match="47 samples do not fit 3 frames of 16: pad"):
        make().flow(waveform[:, 1:], mel)
