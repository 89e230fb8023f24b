"""An acoustic network as a file: it says what PyTorch says of sentences of any length, and is scored in its place."""

import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from kd_lightning.deploy.acoustic_file import DURATIONS, MEL, AcousticFile, acoustic_inputs
from kd_lightning.deploy.graph import network_nodes, save
from kd_lightning.deploy.int8 import to_int8
from kd_lightning.deploy.onnx_file import to_onnx
from kd_lightning.frontend.mel import SILENCE, Mel
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import Sentences
from kd_lightning.models.feed_forward_acoustic import FeedForwardAcoustic
from kd_lightning.models.tacotron2 import Tacotron2

PIECES = ["<blank>", "_", *"abcdefgh"]
LENGTHS = (2, 21, 7)


def speaker(seed: int, speakers: int = 2, blocks: str = "convolution") -> AcousticModel:
    """A network whose tokens last some four frames."""
    torch.manual_seed(seed)
    network = FeedForwardAcoustic(
        20, len(PIECES), speakers, blocks, width=16, inner=24, encoder_layers=1, decoder_layers=1, kernel=5,
        heads=2, predictor_width=8,
    )  # fmt: skip
    with torch.no_grad():
        network.predictors.head.weight.normal_(0, 0.3)
        network.predictors.head.bias[0] = math.log1p(4)
    return AcousticModel(Mel(16000, 800, 200, 1024, bins=20), network).eval()


def sentences() -> Sentences:
    """A ragged batch by two voices."""
    generator = torch.Generator().manual_seed(0)
    tokens = [torch.randint(1, len(PIECES), (length,), generator=generator) for length in LENGTHS]
    return Sentences(
        pad_sequence(tokens, batch_first=True), torch.tensor(LENGTHS), torch.arange(len(LENGTHS)) % 2
    )


def opened(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def model() -> AcousticModel:
    return speaker(0)


@pytest.fixture(scope="module")
def exported(model: AcousticModel) -> onnx.ModelProto:
    return to_onnx(model, 16000)


def test_in_the_networks_place_the_file_says_the_same(model: AcousticModel, exported: onnx.ModelProto):
    file = AcousticFile(opened(exported), model)
    said = AcousticModel(model.frontend, file)(sentences())
    with torch.no_grad():
        expected = model(sentences())
    assert torch.equal(said.durations, expected.durations)
    assert torch.equal(said.frames, expected.frames)
    assert (said.frames > torch.tensor(LENGTHS)).all()
    torch.testing.assert_close(said.mel, expected.mel, rtol=1e-4, atol=1e-4)
    assert (said.mel[0, :, said.frames[0] :] == SILENCE).all()
    assert file.max_abs_difference < 1e-4
    assert file.other_durations == 0


def test_another_networks_file_is_found_out(exported: onnx.ModelProto):
    file = AcousticFile(opened(exported), speaker(1))
    file(sentences())
    assert file.max_abs_difference > 0.1
    assert file.other_durations > 0.1


def test_only_where_there_are_several_voices_the_file_asks_who_speaks(exported: onnx.ModelProto):
    assert [given.name for given in exported.graph.input] == ["tokens", "speaker"]
    assert [given.name for given in exported.graph.output] == [MEL, DURATIONS]
    assert [set(inputs) for inputs in acoustic_inputs(speaker(0, speakers=1), sentences())] == [
        {"tokens"}
    ] * 3
    session = opened(exported)
    tokens = sentences().tokens[1:2].numpy()
    voices = [session.run([MEL], {"tokens": tokens, "speaker": np.array([voice])})[0] for voice in (0, 1)]
    assert voices[0].shape != voices[1].shape or abs(voices[0] - voices[1]).max() > 0.01


def test_int8_rounds_the_network_and_says_nearly_the_same(model: AcousticModel, exported: onnx.ModelProto):
    assert sum(node.op_type == "Conv" for node in network_nodes(exported)) >= 5
    rounded = to_int8(exported, list(acoustic_inputs(model, sentences())))
    kinds = [node.op_type for node in rounded.graph.node]
    assert kinds.count("QuantizeLinear") > 5
    file = AcousticFile(opened(rounded), model)
    file(sentences())
    # Of mels that range over some ten.
    assert 1e-4 < file.max_abs_difference < 2


def test_the_file_says_what_its_tokens_and_mels_are(
    model: AcousticModel, exported: onnx.ModelProto, tmp_path: Path
):
    copy = onnx.ModelProto()
    copy.CopyFrom(exported)
    told = {"mel": model.frontend.settings, "speakers": ["84", "1034"], "spelling": "phonemes"}
    save(copy, tmp_path / "network.onnx", PIECES, 16000, **told)
    session = onnxruntime.InferenceSession(str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"])
    found = session.get_modelmeta().custom_metadata_map
    assert {key: json.loads(value) for key, value in found.items()} == {
        "classes": PIECES,
        "sample_rate": 16000,
        **told,
    }


def test_decoders_with_attention_are_refused():
    network = Tacotron2(20, len(PIECES), encoder_width=8, prenet_width=4, attention_width=8, decoder_width=8)
    model = AcousticModel(Mel(16000, 800, 200, 1024, bins=20), network).eval()
    with pytest.raises(ValueError, match=r"Tacotron2 speaks with an attention decoder.*feed_forward_small"):
        to_onnx(model, 16000)


@pytest.mark.slow
def test_a_network_of_transformer_blocks_and_one_voice_can_be_exported():
    model = speaker(0, speakers=1, blocks="transformer")
    file = AcousticFile(opened(to_onnx(model, 16000)), model)
    file(sentences())
    assert file.max_abs_difference < 1e-4
    assert file.other_durations == 0
