"""Small networks to teach with."""

from collections.abc import Callable

import pytest
import torch

from kd_lightning.frontend.features import MFCC
from kd_lightning.models.tc_resnet import TCResNet
from kd_lightning.models.waveform_model import WaveformModel


@pytest.fixture
def make_model() -> Callable[..., WaveformModel]:
    """Builds a TC-ResNet8 for three classes from a seed."""

    def make(seed: int, width: float = 0.25, bins: int = 40) -> WaveformModel:
        torch.manual_seed(seed)
        frontend = MFCC(bins=bins, coefficients=bins)
        return WaveformModel(frontend, TCResNet(bins=bins, classes=3, depth=8, width=width)).eval()

    return make


@pytest.fixture
def waveform() -> torch.Tensor:
    return 0.1 * torch.randn(5, 16000, generator=torch.Generator().manual_seed(0))
