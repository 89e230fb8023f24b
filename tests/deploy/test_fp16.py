"""The fp16 file: what is in half precision, what is not, and that it says nearly the same."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from kd_lightning.deploy.fp16 import GREATEST, to_fp16
from kd_lightning.deploy.onnx_file import INPUT, to_onnx
from kd_lightning.deploy.vocoder_file import VocoderFile
from kd_lightning.frontend.features import MFCC
from kd_lightning.frontend.mel import Mel
from kd_lightning.models.recurrent import RecurrentNetwork
from kd_lightning.models.tc_resnet import TCResNet
from kd_lightning.models.vocoder import Vocoder
from kd_lightning.models.vocos import Vocos
from kd_lightning.models.waveform_model import WaveformModel


@pytest.fixture(scope="module")
def model() -> WaveformModel:
    torch.manual_seed(0)
    model = WaveformModel(MFCC(), TCResNet(40, 5, width=0.5, dropout=0.0)).eval()
    nn.init.normal_(model.network.head.weight)
    return model


@pytest.fixture(scope="module")
def exported(model: WaveformModel) -> onnx.ModelProto:
    return to_onnx(model, 16000)


def opened(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


def kinds(graph: onnx.ModelProto) -> dict[str, int]:
    """The types of all tensors, as ONNX infers them from the operators."""
    inferred = onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True).graph
    known = {tensor.name: tensor.data_type for tensor in inferred.initializer}
    values = (*inferred.value_info, *inferred.input, *inferred.output)
    return known | {value.name: value.type.tensor_type.elem_type for value in values}


def test_weights_and_what_convolutions_write_are_halves(exported: onnx.ModelProto):
    halved = to_fp16(exported)
    of = kinds(halved)
    products = [node for node in halved.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(products) == 11
    for node in products:
        assert {of[name] for name in (*node.input, *node.output)} == {TensorProto.FLOAT16}
    assert len(halved.SerializeToString()) < len(exported.SerializeToString())


def test_the_frontend_and_the_probabilities_are_floats(exported: onnx.ModelProto):
    halved = to_fp16(exported)
    of = kinds(halved)
    for node in halved.graph.node:
        if node.op_type in ("STFT", "Log", "Softmax"):
            assert {of[name] for name in (*node.input, *node.output)} <= {
                TensorProto.FLOAT,
                TensorProto.INT64,
            }
    assert {of[value.name] for value in (*halved.graph.input, *halved.graph.output)} == {TensorProto.FLOAT}


def test_the_file_in_float_stays_as_it_is(exported: onnx.ModelProto):
    before = exported.SerializeToString(deterministic=True)
    to_fp16(exported)
    assert exported.SerializeToString(deterministic=True) == before


def test_it_hears_what_the_float_file_hears_to_three_digits(exported: onnx.ModelProto):
    noise = np.random.default_rng(0).normal(0, 0.1, (8, 16000)).astype(np.float32)
    halved, expected = (opened(graph).run(None, {INPUT: noise})[0] for graph in (to_fp16(exported), exported))
    assert 0 < abs(halved - expected).max() < 2e-3


def test_casts_stand_at_the_border_only(exported: onnx.ModelProto):
    casts = [node for node in to_fp16(exported).graph.node if node.op_type == "Cast"]
    assert len(casts) == 2  # features in, logits out


def test_what_is_finite_stays_finite():
    """A mask adds the least float there is; that must not become minus infinity, of which there is no multiple of 0."""
    weight = np.array([[-3.4e38, 1.0], [2.0, -np.inf]], np.float32)
    node = helper.make_node("Gemm", ["x", "w"], ["y"], name="product")
    note = node.metadata_props.add()
    note.key, note.value = "pkg.torch.onnx.name_scopes", "['', 'model', 'model.network']"
    floats = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy"]
    graph = helper.make_graph([node], "one", floats[:1], floats[1:], [numpy_helper.from_array(weight, "w")])
    (halved,) = to_fp16(helper.make_model(graph)).graph.initializer
    np.testing.assert_array_equal(
        numpy_helper.to_array(halved), np.array([[-GREATEST, 1], [2, -np.inf]], np.float16)
    )


def test_spectra_and_samples_of_a_vocoder_are_floats():
    torch.manual_seed(0)
    network = Vocos(10, 16, channels=12, hidden_channels=24, layers=2, fft_length=64)
    nn.init.normal_(network.spectrum.weight, std=0.5)
    vocoder = Vocoder(Mel(1600, 64, 16, 64, bins=10, high_hz=800.0), network).eval()
    halved = to_fp16(to_onnx(vocoder, 1600))
    of = kinds(halved)
    for node in halved.graph.node:
        if node.op_type in ("Cos", "Sin", "Exp", "DFT"):
            assert of[node.output[0]] == TensorProto.FLOAT
    file = VocoderFile(opened(halved), vocoder)
    file(2 * torch.randn(2, 10, 50) - 5)
    assert 0 < file.max_abs_difference < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_recurrent_networks_run_in_halves(cell: str):
    torch.manual_seed(0)
    model = WaveformModel(MFCC(), RecurrentNetwork(40, 5, cell=cell, hidden=16)).eval()
    exported = to_onnx(model, 16000)
    noise = np.random.default_rng(0).normal(0, 0.1, (3, 16000)).astype(np.float32)
    halved, expected = (opened(graph).run(None, {INPUT: noise})[0] for graph in (to_fp16(exported), exported))
    assert math.isfinite(halved.sum())
    assert abs(halved - expected).max() < 2e-3
