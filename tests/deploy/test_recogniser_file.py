"""A recogniser as a file: it hears what PyTorch hears, in utterances of any length, and in int8 nearly so."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_lightning.deploy.graph import network_nodes, save
from kd_lightning.deploy.int8 import to_int8
from kd_lightning.deploy.onnx_file import INPUT, LOG_PROBABILITIES, to_onnx
from kd_lightning.frontend.features import LogMel
from kd_lightning.models.conformer import Conformer
from kd_lightning.models.deep_speech import DeepSpeech
from kd_lightning.models.listen_attend_spell import ListenAttendSpell
from kd_lightning.models.quartznet import QuartzNet
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.recurrent_recogniser import RecurrentRecogniser

PIECES = ["<blank>", " ", *"abcdefghij"]
LENGTHS = (64000, 40001, 16000, 800, 1)


def recogniser(network: nn.Module) -> Recogniser:
    """With BatchNorms that do something, in eval mode."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    frontend = LogMel(window_seconds=0.025, bins=40, floor_db=80.0, padding="zeros")
    return Recogniser(frontend, network).eval()


@pytest.fixture(scope="module")
def model() -> Recogniser:
    torch.manual_seed(0)
    network = QuartzNet(
        40, len(PIECES), (32, 32), (11, 13), repeats=2, tail_kernel=15, head_channels=48, stride=4
    )
    nn.init.normal_(network.ctc.weight, std=0.5)
    return recogniser(network)


@pytest.fixture(scope="module")
def exported(model: Recogniser) -> onnx.ModelProto:
    return to_onnx(model, 32000)


@pytest.fixture(scope="module")
def int8(exported: onnx.ModelProto) -> onnx.ModelProto:
    lengths = (20000, 32000, 48321, 8000)
    return to_int8(exported, [{INPUT: sound(samples, seed)} for seed, samples in enumerate(lengths)])


def sound(samples: int, seed: int) -> Tensor:
    """Noise (1, T) whose colour and level change over time."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=samples) + np.cumsum(rng.normal(size=samples)) / 50
    return torch.tensor(0.05 * noise * (1 + np.sin(np.arange(samples) / 3000)), dtype=torch.float32)[None]


def said(graph: onnx.ModelProto, waveform: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run([LOG_PROBABILITIES], {INPUT: waveform.numpy()})[0])


def assert_the_file_says_the_same(model: Recogniser, graph: onnx.ModelProto) -> None:
    for seed, samples in enumerate(LENGTHS):
        waveform = sound(samples, seed)
        with torch.no_grad():
            expected = model(waveform).logits.log_softmax(dim=2)
        torch.testing.assert_close(said(graph, waveform), expected, rtol=1e-3, atol=1e-3)


def test_utterances_of_any_length_sound_as_in_pytorch(model: Recogniser, exported: onnx.ModelProto):
    assert_the_file_says_the_same(model, exported)
    assert [value.name for value in exported.graph.input] == [INPUT]
    assert [value.name for value in exported.graph.output] == [LOG_PROBABILITIES]


def test_int8_says_nearly_the_same_from_the_same_features(
    model: Recogniser, exported: onnx.ModelProto, int8: onnx.ModelProto
):
    assert not {"STFT", "Log", "LogSoftmax"} & {node.op_type for node in network_nodes(exported)}
    assert sum(node.op_type == "QuantizeLinear" for node in int8.graph.node) > 10
    rounded = {node.input[0] for node in int8.graph.node if node.op_type == "QuantizeLinear"}
    spectra = {name for node in int8.graph.node if node.op_type in ("STFT", "Log") for name in node.output}
    assert not rounded & spectra
    for seed, samples in enumerate(LENGTHS):
        waveform = sound(samples, 10 + seed)
        in_float, in_int8 = said(exported, waveform).exp(), said(int8, waveform).exp()
        assert (in_int8 - in_float).abs().max() < 0.2
        assert (in_int8 - in_float).abs().mean() > 0  # it is rounded
        torch.testing.assert_close(in_int8.sum(dim=2), torch.ones(1, in_int8.shape[1]))


def test_no_utterances_are_refused(exported: onnx.ModelProto):
    with pytest.raises(ValueError, match=r"calibrated on training clips.*there are none"):
        to_int8(exported, [])


def test_the_file_says_its_tokens_and_when_its_frames_are(exported: onnx.ModelProto, tmp_path: Path):
    copy = onnx.ModelProto()
    copy.CopyFrom(exported)
    save(copy, tmp_path / "network.onnx", PIECES, 16000, seconds_per_frame=0.04)
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in told.items()} == {
        "classes": PIECES,
        "sample_rate": 16000,
        "seconds_per_frame": 0.04,
    }


def test_attention_decoders_are_refused():
    network = ListenAttendSpell(40, len(PIECES), hidden=8, pyramids=2, speller_hidden=8, embedding=4)
    with pytest.raises(ValueError, match=r"ListenAttendSpell writes with an attention decoder.*QuartzNet"):
        to_onnx(recogniser(network), 16000)


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        Conformer(40, len(PIECES), 16, 2, 32, 2, 7, 8),
        DeepSpeech(40, len(PIECES), hidden=16, context=2, stride=2),
        RecurrentRecogniser(40, len(PIECES), "lstm", 16, 2, channels=4),
        RecurrentRecogniser(40, len(PIECES), "gru", 16, 1, bidirectional=False, channels=4),
    ],
    ids=lambda network: type(network).__name__,
)
def test_every_family_can_be_exported(network: nn.Module):
    model = recogniser(network)
    assert_the_file_says_the_same(model, to_onnx(model, 16000))
