"""Networks that ONNX cannot express are refused by name, with the operator or what else stood in the way."""

import pytest
import torch
from torch import Tensor, nn

from kd_lightning.deploy.onnx_file import to_onnx
from kd_lightning.frontend.features import MFCC
from kd_lightning.models.waveform_model import KeywordOutput, WaveformModel


class Bessel(nn.Module):
    """Classifies by a function that ONNX does not have."""

    def forward(self, features: Tensor) -> KeywordOutput:
        pooled = features.mean(dim=2)
        return KeywordOutput(torch.special.bessel_j0(pooled))


class Branching(nn.Module):
    """Computes one thing or another, as what it hears may be."""

    def forward(self, features: Tensor) -> KeywordOutput:
        pooled = features.mean(dim=2)
        return KeywordOutput(pooled if pooled.sum() > 0 else -pooled)


def test_the_operator_that_onnx_lacks_is_named():
    with pytest.raises(ValueError, match=r"^Bessel cannot .* no operator for prims\.bessel_j0"):
        to_onnx(WaveformModel(MFCC(), Bessel()).eval(), 16000)


def test_a_path_that_depends_on_the_audio_is_one_line():
    with pytest.raises(ValueError, match=r"^Branching cannot .* data-dependent expression") as caught:
        to_onnx(WaveformModel(MFCC(), Branching()).eval(), 16000)
    assert "\n" not in str(caught.value)
