"""Keyword spotters as LiteRT files: they say what PyTorch says, in float and nearly so in int8."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kd_lightning.frontend.features import MFCC
from kd_lightning.models.recurrent import RecurrentNetwork
from kd_lightning.models.tc_resnet import TCResNet
from kd_lightning.models.waveform_model import WaveformModel

pytest.importorskip("litert_torch", reason="needs LiteRT's converter: make test-litert")

from ai_edge_litert.interpreter import Interpreter

from kd_lightning.deploy import litert_memory
from kd_lightning.deploy.litert_file import LiteRTSession, metadata, save, to_litert
from kd_lightning.deploy.litert_int8 import to_int8
from kd_lightning.deploy.litert_memory import memory
from kd_lightning.deploy.onnx_file import INPUT, SCORES

CLASSES = ["yes", "no", "stop"]


@pytest.fixture(scope="module")
def clips() -> Tensor:
    """Noise of different colour and level."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(32, 16000, generator=generator)
    noise[::2] = noise[::2].cumsum(dim=1) / 100
    return 0.1 * torch.rand(32, 1, generator=generator) * noise


@pytest.fixture(scope="module")
def model(clips: Tensor) -> WaveformModel:
    torch.manual_seed(0)
    # So many weights that the quantiser puts them behind the graph: from 256 kB on.
    model = WaveformModel(MFCC(), TCResNet(40, len(CLASSES), width=2.0, dropout=0.0)).train()
    with torch.no_grad():
        model(clips)  # statistics for the BatchNorms
        model.network.head.weight.mul_(100)
    return model.eval()


@pytest.fixture(scope="module")
def converted(model: WaveformModel) -> bytes:
    return to_litert(model, 16000)


@pytest.fixture(scope="module")
def rounded(converted: bytes, clips: Tensor) -> bytes:
    return to_int8(converted, [{INPUT: clips[:20]}, {INPUT: clips[20:]}])


@pytest.fixture(scope="module")
def files(converted: bytes, rounded: bytes, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("litert")
    paths = {name: folder / f"{name}.tflite" for name in ("fp32", "int8")}
    save(converted, paths["fp32"], CLASSES, 16000, seconds=1.0)
    save(rounded, paths["int8"], CLASSES, 16000)
    return paths


def scores(path: Path, clips: Tensor) -> np.ndarray:
    return LiteRTSession(path).run([SCORES], {INPUT: clips.numpy()})[0]


@torch.no_grad()
def test_a_file_in_float_says_what_pytorch_says(model: WaveformModel, files: dict[str, Path], clips: Tensor):
    expected = model(clips).logits.softmax(dim=1)
    assert expected.std(dim=0).min() > 0.01
    np.testing.assert_allclose(scores(files["fp32"], clips), expected.numpy(), atol=1e-5)


@torch.no_grad()
def test_int8_rounds_the_network_and_not_its_frontend(
    model: WaveformModel, files: dict[str, Path], clips: Tensor
):
    interpreter = Interpreter(str(files["int8"]))
    interpreter.allocate_tensors()
    kinds = [each["dtype"] for each in interpreter.get_tensor_details()]
    assert kinds.count(np.int8) >= 20  # of ten convolutions the weights and what they write
    assert kinds.count(np.float32) > 50  # the spectrum
    away = np.abs(scores(files["int8"], clips) - model(clips).logits.softmax(dim=1).numpy())
    assert 1e-4 < away.mean() < 0.02
    assert 256e3 < files["int8"].stat().st_size < files["fp32"].stat().st_size / 2


def test_a_clip_says_the_same_whatever_came_before(files: dict[str, Path], clips: Tensor):
    session = LiteRTSession(files["int8"])
    together = session.run(None, {INPUT: clips[:4].numpy()})[0]
    alone = session.run(None, {INPUT: clips[3:4].numpy()})[0]
    np.testing.assert_array_equal(alone, together[3:])
    np.testing.assert_allclose(together.sum(axis=1), np.ones(4), rtol=1e-5)


def test_files_say_what_they_hear_and_nothing_of_the_code(files: dict[str, Path]):
    assert metadata(files["fp32"]) == {"classes": CLASSES, "sample_rate": 16000, "seconds": 1.0}
    assert metadata(files["int8"]) == {"classes": CLASSES, "sample_rate": 16000}
    for path in files.values():
        assert b"kd_lightning" not in path.read_bytes()
        signature = Interpreter(str(path)).get_signature_list()
        assert list(signature.values()) == [{"inputs": [INPUT], "outputs": [SCORES]}]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells a process its peak")
def test_memory_holds_the_waveform_and_the_spectrum(files: dict[str, Path]):
    taken = memory(files["fp32"])
    assert 4 * (16000 + 2 * 257 * 101) < taken["arena_bytes"] < 2e6
    assert taken["arena_bytes"] < taken["peak_memory_bytes"] < 50e6


def test_a_file_that_does_not_run_alone_is_an_error(tmp_path: Path):
    path = tmp_path / "damaged.tflite"
    path.write_bytes(b"TFL3")
    with pytest.raises(RuntimeError, match=r"damaged\.tflite does not run"):
        memory(path)


def test_memory_is_measured_without_torch():
    code = f"import runpy, sys; runpy.run_path({litert_memory.__file__!r}); print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "kd_lightning", "litert_torch"} & set(imported.stdout.split())


def test_no_clips_are_refused(converted: bytes):
    for none in ([], [{INPUT: torch.zeros(0, 16000)}]):
        with pytest.raises(ValueError, match=r"calibrated on training clips.*there are none"):
            to_int8(converted, none)


def test_what_litert_cannot_express_is_named():
    class Bessel(nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            return torch.special.bessel_j0(features).mean(dim=2)

    with pytest.raises(ValueError, match=r"LiteRT cannot express Bessel: .*bessel_j0"):
        to_litert(WaveformModel(MFCC(), Bessel()).eval(), 16000)


def test_recurrent_networks_are_sent_to_onnx():
    network = RecurrentNetwork(40, len(CLASSES), cell="gru")
    with pytest.raises(ValueError, match=r"RecurrentNetwork is recurrent.*set format=onnx"):
        to_litert(WaveformModel(MFCC(), network).eval(), 16000)
