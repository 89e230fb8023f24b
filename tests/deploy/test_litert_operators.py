"""Networks in LiteRT's operators say what they say in torch's."""

import pytest
import torch
from torch import Tensor, nn

from kd_lightning.deploy.litert_operators import LiteRTOperators
from kd_lightning.frontend.features import MFCC, LogMel, NormalisedLogMel
from kd_lightning.models.ds_cnn import DSCNN
from kd_lightning.models.tc_resnet import TCResNet
from kd_lightning.models.waveform_model import WaveformModel


@pytest.fixture
def noise() -> Tensor:
    return 0.1 * torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))


# Hops and windows that have 32, 1, 4 and all samples of a frame in common, an odd number of factors, and no padding.
SIZES = [(512, 160, 480, True), (1024, 441, 1000, True), (64, 4, 63, True), (256, 256, 256, False)]


@pytest.mark.parametrize(("n_fft", "hop_length", "win_length", "center"), SIZES)
@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
def test_a_spectrum_in_real_numbers_is_that_of_torch(
    noise: Tensor, n_fft: int, hop_length: int, win_length: int, center: bool, pad_mode: str
):
    def transformed() -> Tensor:
        return torch.stft(
            noise,
            n_fft,
            hop_length,
            win_length,
            window=torch.hann_window(win_length),
            center=center,
            pad_mode=pad_mode,
            return_complex=True,
        )

    expected = transformed()
    with LiteRTOperators():
        real, imag = transformed()
    assert real.dtype == torch.float32
    torch.testing.assert_close(torch.complex(real, imag), expected, rtol=0, atol=2e-6 * n_fft**0.5)


@pytest.mark.parametrize("frontend", [LogMel(), MFCC(coefficients=20), NormalisedLogMel(padding="zeros")])
def test_features_are_those_of_torch(frontend: LogMel, noise: Tensor):
    expected = frontend(noise)
    with LiteRTOperators():
        features = frontend(noise)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("network", [TCResNet(40, 5, width=0.5), DSCNN(40, 5)])
def test_batchnorms_become_part_of_the_convolutions_before_them(network: nn.Module, noise: Tensor):
    torch.manual_seed(0)
    model = WaveformModel(MFCC(), network).train()
    with torch.no_grad():
        model(noise)  # statistics for the BatchNorms
    model.eval()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, -1, 1)
            nn.init.uniform_(norm.bias, -1, 1)

    class Traced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, waveform: Tensor) -> Tensor:
            with LiteRTOperators():
                return self.model(waveform).logits

    with torch.no_grad():
        torch.testing.assert_close(Traced()(noise), model(noise).logits, rtol=0, atol=1e-4)
        graph = torch.export.export(Traced(), (noise,), strict=False)
    norms = [node for node in graph.graph.nodes if "batch_norm" in str(node.target)]
    assert len(norms) == 1  # that of the features, before the first convolution
    assert not any(
        value.is_complex()
        for node in graph.graph.nodes
        if isinstance(value := node.meta.get("val"), torch.Tensor)
    )


def test_a_batchnorm_of_a_sum_stays(noise: Tensor):
    norm = nn.BatchNorm1d(3).eval()
    heard = noise[None, :, :100]
    convolution = nn.Conv1d(3, 3, 1)
    with torch.no_grad(), LiteRTOperators() as operators:
        summed = norm(convolution(heard) + heard)
    assert len(operators.convolutions) <= 1
    torch.testing.assert_close(summed, norm(convolution(heard) + heard))
