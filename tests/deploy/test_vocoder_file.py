"""A vocoder as a file: it says what PyTorch says of mels of any length; a flow is given its noise."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from kd_lightning.deploy.int8 import to_int8
from kd_lightning.deploy.onnx_file import to_onnx
from kd_lightning.deploy.vocoder_file import VocoderFile, vocoder_inputs
from kd_lightning.frontend.mel import Mel
from kd_lightning.models.squeeze_wave import SqueezeWave
from kd_lightning.models.vocoder import Vocoder
from kd_lightning.models.vocos import Vocos
from kd_lightning.models.waveglow import WaveGlow

BINS, HOP = 10, 16


def vocoder(network: nn.Module) -> Vocoder:
    """With weights that do something in all layers, in eval mode."""
    torch.manual_seed(0)
    for weight in network.parameters():
        if weight.ndim > 1 and not weight.any():
            nn.init.normal_(weight, std=0.05)
    return Vocoder(Mel(1600, 64, HOP, 64, bins=BINS, high_hz=800.0), network).eval()


def squeeze_wave() -> SqueezeWave:
    return SqueezeWave(BINS, HOP, group=8, flows=2, early_every=1, early_channels=2, layers=1, channels=6)


def mels(frames: int, seed: int = 0) -> Tensor:
    """(2, BINS, frames)."""
    return 2 * torch.randn(2, BINS, frames, generator=torch.Generator().manual_seed(seed)) - 5


def opened(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def vocos() -> tuple[Vocoder, onnx.ModelProto]:
    model = vocoder(Vocos(BINS, HOP, channels=12, hidden_channels=24, layers=2, fft_length=64))
    nn.init.normal_(model.network.spectrum.weight, std=0.5)
    return model, to_onnx(model, 16000)


@pytest.fixture(scope="module")
def flow() -> tuple[Vocoder, onnx.ModelProto]:
    model = vocoder(squeeze_wave())
    return model, to_onnx(model, 16000)


def assert_the_file_says_the_same(model: Vocoder, exported: onnx.ModelProto) -> None:
    file = VocoderFile(opened(exported), model)
    in_place = Vocoder(model.frontend, file)
    for frames in (1, 9, 50):
        said = []
        for each in (model, in_place):
            with torch.random.fork_rng(), torch.no_grad():
                torch.manual_seed(frames)
                said.append(torch.cat([each(mel[None]) for mel in mels(frames)]))
        assert said[1].shape == (2, frames * HOP)
        assert said[0].std() > 1e-3
        torch.testing.assert_close(said[1], said[0], rtol=1e-4, atol=1e-5)
    assert file.max_abs_difference < 1e-4


def test_a_vocoder_says_the_same_of_mels_of_any_length(vocos: tuple[Vocoder, onnx.ModelProto]):
    assert_the_file_says_the_same(*vocos)
    assert [given.name for given in vocos[1].graph.input] == ["mel"]
    assert [given.name for given in vocos[1].graph.output] == ["waveform"]


def test_a_flow_says_the_same_from_the_same_noise(flow: tuple[Vocoder, onnx.ModelProto]):
    assert_the_file_says_the_same(*flow)
    model, exported = flow
    assert [given.name for given in exported.graph.input] == ["mel", "noise"]
    session, fed = opened(exported), {"mel": mels(5)[:1].numpy(), "noise": np.ones((1, 5 * HOP), np.float32)}
    once, again = (session.run(None, fed)[0] for _ in range(2))
    np.testing.assert_array_equal(once, again)
    with torch.no_grad():
        sigmas = torch.full((1, 5 * HOP), model.network.sigma)
        expected = model.network.inverse(sigmas, mels(5)[:1])
    np.testing.assert_allclose(once, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_the_exported_flow_goes_on_learning(flow: tuple[Vocoder, onnx.ModelProto]):
    network = flow[0].network
    fresh = squeeze_wave().state_dict()
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == {
        name: tensor.shape for name, tensor in fresh.items()
    }
    assert all(weight.requires_grad for weight in network.parameters())


def test_another_networks_file_is_found_out(vocos: tuple[Vocoder, onnx.ModelProto]):
    file = VocoderFile(
        opened(vocos[1]), vocoder(Vocos(BINS, HOP, channels=12, hidden_channels=24, layers=1, fft_length=64))
    )
    file(mels(9))
    assert file.max_abs_difference > 0.01


@pytest.mark.parametrize("kind", ["vocos", "flow"])
def test_int8_rounds_the_network(kind: str, request: pytest.FixtureRequest):
    model, exported = request.getfixturevalue(kind)
    rounded = to_int8(exported, [vocoder_inputs(model, mels(40, seed)[:1]) for seed in range(4)])
    assert sum(node.op_type == "QuantizeLinear" for node in rounded.graph.node) > 5
    in_float, in_int8 = (VocoderFile(opened(graph), model) for graph in (exported, rounded))
    for file in (in_float, in_int8):
        file(mels(40, 9))
    assert in_int8.max_abs_difference > 10 * in_float.max_abs_difference


def test_spectra_and_samples_are_not_rounded(vocos: tuple[Vocoder, onnx.ModelProto]):
    model, exported = vocos
    rounded = to_int8(exported, [vocoder_inputs(model, mels(40)[:1])])
    makers = {name: node for node in rounded.graph.node for name in node.output}
    kinds, wanted = set(), ["waveform"]
    while wanted:  # from the waveform back to the last product with weights; sizes are not samples
        node = makers.get(wanted.pop())
        if node is not None and node.op_type not in ("MatMul", "Gemm", "Shape"):
            kinds.add(node.op_type)
            wanted += node.input
    assert {"DFT", "Cos", "Concat"} <= kinds
    assert not {"QuantizeLinear", "DequantizeLinear"} & kinds


def test_shortcuts_between_layers_are_not_rounded(vocos: tuple[Vocoder, onnx.ModelProto]):
    model, exported = vocos
    rounded = to_int8(exported, [vocoder_inputs(model, mels(40)[:1])])
    makers = {name: node.op_type for node in rounded.graph.node for name in node.output}
    sums = [node for node in rounded.graph.node if node.op_type == "Add"]
    assert len(sums) >= len(model.network.blocks)
    assert "DequantizeLinear" not in {makers.get(name) for node in sums for name in node.input}


@pytest.mark.slow
def test_waveglow_can_be_exported():
    model = vocoder(WaveGlow(BINS, HOP, group=8, flows=2, early_every=1, layers=2, channels=6))
    assert_the_file_says_the_same(model, to_onnx(model, 16000))
