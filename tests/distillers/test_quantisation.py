"""Rounding in training: against float64, against the folded network, and what it leaves alone."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from kd_lightning.distillers.quantisation import FakeInt8, rounded_activation, rounded_weight, span
from kd_lightning.frontend.features import MFCC
from kd_lightning.models.bc_resnet import BCResNet
from kd_lightning.models.keyword_transformer import KeywordTransformer
from kd_lightning.models.tc_resnet import TCResNet
from kd_lightning.models.waveform_model import WaveformModel

pytestmark = pytest.mark.filterwarnings("error")


class Residual(nn.Module):
    """Everything that is rounded: convolutions with and without a BatchNorm to fold, a sum, a mean, a linear layer."""

    def __init__(self, bins: int = 40, classes: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv1d(bins, 6, 3)
        self.norm = nn.BatchNorm1d(6)
        self.second = nn.Conv1d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, classes)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.norm(self.first(features)).relu()
        hidden = hidden + self.second(hidden)
        return self.head(hidden.mean(dim=2))


@pytest.fixture
def model() -> WaveformModel:
    torch.manual_seed(0)
    model = WaveformModel(MFCC(), Residual())
    model.network.norm.running_mean.normal_()
    model.network.norm.running_var.uniform_(0.5, 2)
    return model.eval()


@pytest.fixture
def features(model: WaveformModel) -> Tensor:
    return model.frontend(0.1 * torch.randn(4, 16000, generator=torch.Generator().manual_seed(1)))


def sized(model: WaveformModel) -> FakeInt8:
    fake = FakeInt8()
    fake.size(model)
    return fake


def test_weights_are_rounded_as_in_float64():
    weight = (
        torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))
        * torch.logspace(-3, 1, 5)[:, None, None]
    )
    exact = weight.double().numpy()
    scale = np.abs(exact).max(axis=(1, 2), keepdims=True) / 127
    np.testing.assert_allclose(rounded_weight(weight).numpy(), np.round(exact / scale) * scale, rtol=1e-5)


def test_a_channel_without_weights_stays_zero():
    weight = torch.zeros(2, 3)
    weight[1] = 1.0
    torch.testing.assert_close(rounded_weight(weight), weight)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 3.0), (-3.0, -0.5), (-0.001, 2.0), (0.0, 0.0)])
def test_activations_are_rounded_as_in_float64(low: float, high: float):
    activation = torch.linspace(-4, 4, 997)
    least, greatest = min(low, 0.0), max(high, 0.0)
    scale = max((greatest - least) / 255, float(torch.finfo(torch.float32).tiny))
    zero = np.round(-least / scale)
    expected = (np.clip(np.round(activation.double().numpy() / scale) + zero, 0, 255) - zero) * scale
    rounded = rounded_activation(activation, torch.tensor([low, high])).numpy()
    # Where x / s is halfway between two integers, float32 may take the other one.
    assert (np.abs(rounded - expected) > 1e-5).mean() < 0.01
    np.testing.assert_allclose(rounded, expected, atol=scale * 1.01)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.7, 3.1), (-2.9, -0.3)])
def test_zero_is_exact_since_it_pads(low: float, high: float):
    assert rounded_activation(torch.zeros(1), torch.tensor([low, high])) == 0


def test_gradients_pass_the_rounding_and_stop_at_the_range():
    activation = torch.tensor([-1.5, -0.5, 0.3, 1.9, 2.5], requires_grad=True)
    rounded_activation(activation, torch.tensor([-1.0, 2.0])).sum().backward()
    assert activation.grad is not None
    assert activation.grad.tolist() == [0, 1, 1, 1, 0]
    weight = torch.randn(3, 7, requires_grad=True)
    rounded_weight(weight).sum().backward()
    assert weight.grad is not None
    assert (weight.grad == 1).all()


def test_folding_a_batch_norm_keeps_the_integers(model: WaveformModel):
    network = model.network
    with torch.no_grad():
        network.norm.weight.copy_(torch.tensor([1.0, -2.0, 0.3, 5.0, -0.1, 1.0]))
    norm = network.norm
    folded, _ = fuse_conv_bn_weights(
        *(network.first.weight, network.first.bias, norm.running_mean, norm.running_var, norm.eps),
        *(norm.weight, norm.bias),
    )

    def integers(weight: Tensor) -> Tensor:
        return (rounded_weight(weight) / (weight.abs().amax(dim=(1, 2), keepdim=True) / 127)).round()

    signs = norm.weight.sign()[:, None, None]
    assert torch.equal(integers(network.first.weight) * signs, integers(folded))


def test_every_product_and_sum_reads_what_the_file_reads(model: WaveformModel, features: Tensor):
    fake = sized(model)
    with torch.no_grad():
        output = fake(model, features).logits

        def rounded(activation: Tensor) -> Tensor:
            return rounded_activation(activation, span(activation))

        def product(layer: nn.Module, function: object, activation: Tensor, **named: int) -> Tensor:
            return function(rounded(activation), rounded_weight(layer.weight), layer.bias, **named)  # type: ignore[operator]

        network = model.network
        hidden = network.norm(product(network.first, torch.conv1d, features)).relu()
        branch = product(network.second, torch.conv1d, hidden, padding=1)
        hidden = rounded(hidden) + rounded(branch)
        expected = product(network.head, nn.functional.linear, rounded(hidden).mean(dim=2))
    torch.testing.assert_close(output, expected)
    # Inputs of both convolutions and of the linear layer, both sides of the sum, and what the mean reads.
    assert len(fake.ranges) == 6


def test_a_sum_in_place_is_a_sum(model: WaveformModel, features: Tensor):
    class InPlace(Residual):
        def forward(self, features: Tensor) -> Tensor:
            hidden = self.norm(self.first(features)).relu()
            branch = self.second(hidden)
            branch += hidden
            return self.head(branch.mean(dim=2))

    other = WaveformModel(model.frontend, InPlace()).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(sized(model)(model, features).logits, sized(other)(other, features).logits)


def test_ranges_are_the_mean_over_batches_and_then_a_moving_average(model: WaveformModel):
    fake = FakeInt8(averaging=0.25)
    fake.size(model)
    model.train()
    expected = np.zeros(2)
    for step in range(7):
        features = (step + 1) * torch.randn(2, 40, 20, generator=torch.Generator().manual_seed(step))
        fake(model, features)
        share = max(0.25, 1 / (step + 1))
        expected += share * (np.array([float(features.min()), float(features.max())]) - expected)
        np.testing.assert_allclose(fake.ranges[0].numpy(), expected, rtol=1e-5)
    assert int(fake.batches) == 7


def test_evaluation_leaves_ranges_alone(model: WaveformModel, features: Tensor):
    fake = sized(model)
    fake(model, features)
    assert int(fake.batches) == 0
    fake(model.train(), features)
    before = fake.ranges.clone()
    fake(model.eval(), 9 * features)
    assert torch.equal(fake.ranges, before)


def test_an_evaluation_before_any_training_is_rounded_over_its_own_range(
    model: WaveformModel, features: Tensor
):
    fake = sized(model)
    own = fake(model, features).logits
    assert not torch.equal(own, model.classify(features).logits)
    with torch.no_grad():
        fake.ranges.copy_(torch.tensor([[-1e6, 1e6]]))
        assert torch.equal(fake(model, features).logits, own)


def test_sizing_changes_nothing_of_the_model(model: WaveformModel):
    model.network.norm.train()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    torch.manual_seed(7)
    sized(model)
    drawn = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(drawn, torch.rand(1))
    assert model.network.norm.training
    assert not model.network.first.training
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_the_state_goes_on_where_it_stopped(model: WaveformModel, features: Tensor):
    fake, other = sized(model), sized(model)
    model.train()
    fake(model, features)
    other.load_state_dict(fake.state_dict())
    for each in (fake, other):
        each(model, 2 * features)
    assert torch.equal(fake.ranges, other.ranges)
    assert int(other.batches) == 2


def test_nothing_is_rounded_outside(model: WaveformModel, features: Tensor):
    before = model.classify(features).logits
    fake = sized(model)
    fake(model, features)
    with pytest.raises(RuntimeError):
        fake(model, features[:, :3])
    assert torch.equal(model.classify(features).logits, before)


@pytest.mark.parametrize(("branches", "trained"), [(1, 2), (2, 1)])
def test_a_network_that_computes_otherwise_in_training_is_refused(
    model: WaveformModel, features: Tensor, branches: int, trained: int
):
    class Deep(Residual):
        def forward(self, features: Tensor) -> Tensor:
            hidden = self.first(features)
            for _ in range(trained if self.training else branches):
                hidden = self.second(hidden)
            return self.head(hidden.mean(dim=2))

    other = WaveformModel(model.frontend, Deep())
    fake = sized(other)
    with pytest.raises(RuntimeError, match="Deep computes otherwise in training"):
        fake(other.train(), features)


@pytest.mark.parametrize(
    "network",
    [
        TCResNet(40, 3, width=0.25),
        BCResNet(40, 3),
        KeywordTransformer(40, 3, width=16, heads=1, depth=1, distillation=True),
    ],
    ids=lambda network: type(network).__name__,
)
def test_networks_train_on_what_they_hear_rounded(network: nn.Module, features: Tensor):
    model = WaveformModel(MFCC(), network)
    fake = sized(model)
    output = fake(model.train(), features)
    output.logits.square().sum().backward()
    weights = [
        parameter for parameter in network.parameters() if parameter.ndim > 1 and parameter.grad is not None
    ]
    assert len(weights) > 3
    assert all(weight.grad.isfinite().all() for weight in weights)
    close = fake(model.eval(), features).logits
    torch.testing.assert_close(close, model.classify(features).logits, atol=0.5, rtol=0.5)


def test_averaging_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"averaging=0.*above 0"):
        FakeInt8(averaging=0)
