"""The int8 file: what is rounded in it, what is not, and that training heard the same."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor

from kd_lightning.deploy.graph import network_nodes, save
from kd_lightning.deploy.int8 import to_int8
from kd_lightning.deploy.onnx_file import INPUT, to_onnx
from kd_lightning.distillers import quantisation
from kd_lightning.frontend.features import MFCC
from kd_lightning.models.tc_resnet import TCResNet
from kd_lightning.models.waveform_model import WaveformModel

CLASSES = ["yes", "no", "stop"]


@pytest.fixture(scope="module")
def clips() -> list[Tensor]:
    """Four batches of noise of different colour and level."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(32, 16000, generator=generator)
    noise[::2] = noise[::2].cumsum(dim=1) / 100
    return list((0.1 * torch.rand(32, 1, generator=generator) * noise).split(8))


@pytest.fixture(scope="module")
def model(clips: list[Tensor]) -> WaveformModel:
    torch.manual_seed(0)
    model = WaveformModel(MFCC(), TCResNet(40, len(CLASSES), width=0.5, dropout=0.0)).train()
    with torch.no_grad():
        for batch in clips:
            model(batch)  # statistics for the BatchNorms
        model.network.head.weight.mul_(10)
    return model.eval()


@pytest.fixture(scope="module")
def exported(model: WaveformModel) -> onnx.ModelProto:
    return to_onnx(model, 16000)


@pytest.fixture(scope="module")
def int8(exported: onnx.ModelProto, clips: list[Tensor]) -> onnx.ModelProto:
    return to_int8(exported, [{INPUT: waveform} for waveform in clips])


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def value(model: onnx.ModelProto, name: str, waveform: Tensor) -> Tensor:
    """What a tensor inside the graph holds."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    if name not in [output.name for output in opened.graph.output]:
        opened.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([name], {INPUT: waveform.numpy()})[0])


def test_the_network_is_told_from_its_frontend_and_the_softmax(exported: onnx.ModelProto):
    kinds = [node.op_type for node in network_nodes(exported)]
    assert kinds.count("Conv") == 10
    assert kinds[0] == "BatchNormalization"
    assert kinds[-1] == "Gemm"
    assert not {"STFT", "MatMul", "Log", "Softmax"} & set(kinds)


def test_a_graph_without_notes_is_refused(exported: onnx.ModelProto):
    bare = onnx.ModelProto()
    bare.CopyFrom(exported)
    for node in bare.graph.node:
        del node.metadata_props[:]
    with pytest.raises(RuntimeError, match="name_scopes"):
        network_nodes(bare)


def test_features_are_those_of_the_float_file_to_the_last_bit(
    exported: onnx.ModelProto, int8: onnx.ModelProto, clips: list[Tensor]
):
    features = network_nodes(exported)[0].input[0]
    assert torch.equal(value(int8, features, clips[0]), value(exported, features, clips[0]))


def test_weights_are_the_integers_that_training_rounds_to(model: WaveformModel, int8: onnx.ModelProto):
    stored = constants(int8)
    weights = {name: w for name, w in model.named_parameters() if name.endswith("weight") and w.ndim > 1}
    assert len(weights) == 11
    for name, weight in weights.items():
        integers = stored[f"model.{name}_quantized"]
        scale = weight.detach().abs().flatten(1).amax(dim=1) / 127
        rounded = quantisation.rounded_weight(weight.detach()).flatten(1) / scale[:, None]
        # The BatchNorm's factor is folded in: its sign turns a channel, its size is in the scale.
        np.testing.assert_array_equal(abs(integers.reshape(len(scale), -1)), rounded.abs().round().numpy())
        assert integers.dtype == np.int8
        assert stored[f"model.{name}_scale"].shape == (len(scale),)


def test_every_convolution_writes_integers_and_the_logits_are_float(int8: onnx.ModelProto):
    readers = {name: node for node in int8.graph.node for name in node.input}
    written = [
        node
        for node in int8.graph.node
        if node.op_type in ("Conv", "Add") and "network" in "".join(node.input)
    ]
    assert len(written) == 10
    assert {readers[node.output[0]].op_type for node in written} == {"QuantizeLinear"}
    (head,) = [node for node in int8.graph.node if node.op_type == "Gemm"]
    assert readers[head.output[0]].op_type == "Softmax"


def test_training_hears_the_rounding_of_the_file(
    model: WaveformModel, int8: onnx.ModelProto, clips: list[Tensor], monkeypatch: pytest.MonkeyPatch
):
    fake = quantisation.FakeInt8()
    fake.size(model)
    with torch.no_grad():
        # Ranges of floats over the batches, as the calibration sees them.
        with monkeypatch.context() as patch:
            patch.setattr(quantisation, "rounded_activation", lambda activation, extremes: activation)
            patch.setattr(quantisation, "rounded_weight", lambda weight: weight)
            for batch in clips:
                follow(fake, model, batch)
        waveform = torch.cat(clips)
        features = model.frontend(waveform)
        in_float = model.classify(features).logits.softmax(dim=1)
        in_training = fake(model, features).logits.softmax(dim=1)
    in_file = value(int8, "scores", waveform)
    away = (in_float - in_file).abs().mean()
    assert away > 1e-4
    assert (in_training - in_file).abs().mean() < away / 2


def follow(fake: quantisation.FakeInt8, model: WaveformModel, waveform: Tensor) -> None:
    """Let the ranges follow a batch with the BatchNorms as they are in evaluation."""
    model.training = True
    fake(model, model.frontend(waveform))
    model.training = False


def test_no_clips_are_refused(exported: onnx.ModelProto):
    for none in ([], [{INPUT: torch.zeros(0, 16000)}]):
        with pytest.raises(ValueError, match=r"calibrated on training clips.*there are none"):
            to_int8(exported, none)


def test_files_say_what_they_hear_and_nothing_of_the_code(
    exported: onnx.ModelProto, int8: onnx.ModelProto, tmp_path: Path
):
    for name, graph in (("float", exported), ("int8", int8)):
        path = tmp_path / f"{name}.onnx"
        copy = onnx.ModelProto()
        copy.CopyFrom(graph)
        save(copy, path, CLASSES, 16000)
        assert b".py" not in path.read_bytes()
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        said = session.get_modelmeta().custom_metadata_map
        assert json.loads(said["classes"]) == CLASSES
        assert said["sample_rate"] == "16000"
        for count in (1, 5):
            scores = session.run(["scores"], {INPUT: np.zeros((count, 16000), np.float32)})[0]
            np.testing.assert_allclose(scores.sum(axis=1), np.ones(count), rtol=1e-5)
