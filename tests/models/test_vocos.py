"""Vocos: the paper's size, what its inverse transform gives back, what a sample hears, and the exported graph."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.autograd import gradcheck
from torch.nn import functional

from kd_lightning.experiment.compose import conf_folder
from kd_lightning.experiment.targets import build
from kd_lightning.frontend.mel import Mel
from kd_lightning.losses.spectral import mel_error, multi_resolution_stft
from kd_lightning.metrics.efficiency import macs, parameters
from kd_lightning.models.vocos import InverseSTFT, Vocos


def tiny(layers: int = 2, **settings: Any) -> Vocos:
    return Vocos(10, 16, channels=12, hidden_channels=24, layers=layers, fft_length=64, **settings)


def configured(group: str, name: str, hop_length: int = 256) -> Vocos:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=[f"{group}={name}", "frontend=mel_24k"])
    settings = OmegaConf.to_container(config[group].network)
    network = build(settings, nn.Module, bins=80, hop_length=hop_length)
    assert isinstance(network, Vocos)
    return network


def spectrum_of(waveform: Tensor, fft_length: int, hop_length: int) -> Tensor:
    """(B, frames, bins), each frame centred on the middle of a hop."""
    sides = (fft_length - hop_length) // 2
    window = torch.hann_window(fft_length)
    padded = functional.pad(waveform, (sides, sides))
    spectrum = torch.stft(padded, fft_length, hop_length, window=window, center=False, return_complex=True)
    return spectrum.transpose(1, 2)


def test_the_papers_network_has_13_5_million_parameters() -> None:
    # Table 3 of Siuzdak 2024: 13.5M, of 100 bins.
    with torch.device("meta"):
        assert parameters(Vocos(100, 256)) == pytest.approx(13.5e6, rel=0.003)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("teacher", "vocos"),
        ("teacher", "vocos_embedded"),
        ("student", "vocos_small"),
        ("student", "vocos_tiny"),
    ],
)
def test_the_size_in_the_comment_of_each_file_is_counted(group: str, name: str) -> None:
    comment = (conf_folder() / group / f"{name}.yaml").read_text().splitlines()[0]
    stated = comment.partition(" parameters at 80 bins")[0].rpartition(" ")[2]
    unit = {"k": 1e3, "M": 1e6}[stated[-1]]
    digits = len(stated[:-1].partition(".")[2])
    assert f"{parameters(configured(group, name)) / unit:.{digits}f}" == stated[:-1]


@pytest.mark.parametrize(("name", "share"), [("vocos_small", 5), ("vocos_tiny", 10)])
def test_students_take_a_share_of_the_teachers_multiplications(name: str, share: int) -> None:
    mel = torch.zeros(1, 80, 94)
    teacher = macs(configured("teacher", "vocos_embedded"), mel)
    assert macs(configured("student", name), mel) <= teacher / share


def test_the_multiplications_are_those_of_its_layers() -> None:
    # A frame: 7 taps from each bin to each channel; a block's taps and two linear layers; magnitude and phase.
    a_frame = 7 * 10 * 12 + 2 * (7 * 12 + 2 * 12 * 24) + 12 * 66
    assert macs(tiny(), torch.zeros(1, 10, 20)) == 20 * a_frame


@pytest.mark.parametrize(("fft_length", "hop_length"), [(1024, 256), (1024, 200), (64, 32), (64, 6)])
def test_the_inverse_of_a_spectrum_is_the_waveform(fft_length: int, hop_length: int) -> None:
    waveform = torch.randn(3, 12 * hop_length)
    spectrum = spectrum_of(waveform, fft_length, hop_length)
    assert spectrum.shape[1] == 12
    found = InverseSTFT(fft_length, hop_length)(spectrum.real, spectrum.imag)
    torch.testing.assert_close(found, waveform, rtol=0, atol=1e-5)


def test_of_any_spectrum_the_inverse_is_torchs() -> None:
    # Also of one that no waveform has. torch's begins with the middle of frame 0, ours half a hop earlier.
    real, imaginary = torch.randn(2, 3, 20, 129)
    expected = torch.istft(torch.complex(real, imaginary).mT, 256, 64, window=torch.hann_window(256))
    found = InverseSTFT(256, 64)(real, imaginary)
    torch.testing.assert_close(found[:, 32:-32], expected, rtol=0, atol=1e-6)


def test_the_inverse_has_the_slope_that_finite_differences_find() -> None:
    inverse = InverseSTFT(8, 2).double()
    real, imaginary = torch.randn(2, 1, 4, 5, dtype=torch.float64, requires_grad=True)
    assert gradcheck(inverse, (real, imaginary))


@pytest.mark.parametrize("frames", [1, 2, 5, 50])
def test_a_frame_becomes_a_hop_of_samples(frames: int) -> None:
    for hop_length in (256, 200):
        network = configured("student", "vocos_tiny", hop_length).eval()
        waveform = network(torch.randn(2, 80, frames))
        assert waveform.shape == (2, frames * hop_length)
        assert waveform.isfinite().all()


def test_frames_of_the_vocoder_are_those_of_the_mel() -> None:
    mel = Mel(24000)
    waveform = 0.1 * torch.randn(2, 7 * 256)
    assert configured("student", "vocos_tiny")(mel(waveform)).shape == waveform.shape


def test_before_training_it_is_not_loud() -> None:
    waveform = configured("teacher", "vocos_embedded")(torch.randn(2, 80, 60) * 2 - 6)
    assert 0 < waveform.abs().max() < 1


@pytest.mark.parametrize("layers", [1, 3])
def test_what_a_sample_hears(layers: int) -> None:
    network = tiny(layers)
    mel = torch.randn(1, 10, 60, requires_grad=True)
    samples = network(mel)
    (slope,) = torch.autograd.grad(samples[0, 30 * 16 : 31 * 16].sum(), mel)
    heard = slope[0].abs().sum(dim=0).nonzero().flatten().tolist()
    # Transforms of 4 hops: those of the frame itself and of 2 on each side, as far as their window reaches.
    far = 3 * (layers + 1) + 2
    assert heard == list(range(30 - far, 30 + far + 1))


def test_utterances_of_a_batch_do_not_hear_one_another() -> None:
    network, mel = tiny().eval(), torch.randn(3, 10, 20)
    together = network(mel)
    for row in range(3):
        torch.testing.assert_close(network(mel[row : row + 1])[0], together[row], rtol=1e-5, atol=1e-6)


def test_every_parameter_learns() -> None:
    network = tiny()
    waveform = network(torch.randn(2, 10, 20))
    (waveform * torch.randn_like(waveform)).sum().backward()
    idle = [
        name for name, weights in network.named_parameters() if weights.grad is None or not weights.grad.any()
    ]
    assert idle == []


def test_it_learns_to_say_a_chord_from_its_mel() -> None:
    frontend = Mel(16000, window_length=512, hop_length=128, fft_length=512, bins=40)
    phases = 2 * math.pi * torch.tensor([[220.0], [550.0], [1300.0]]) * torch.arange(40 * 128) / 16000
    wanted = 0.1 * phases.sin().sum(dim=0, keepdim=True) + 0.03 * torch.randn(1, 40 * 128)
    network = Vocos(40, 128, channels=32, hidden_channels=64, layers=2, fft_length=512)
    samples = torch.tensor([40 * 128])
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(75):
        said = network(frontend(wanted))
        spectrum, mel = (
            multi_resolution_stft(said, wanted, samples),
            mel_error(said, wanted, samples, frontend),
        )
        loss = spectrum.sum / spectrum.count + mel.sum / mel.count
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_half_precision_is_left_before_the_spectrum() -> None:
    network, mel = tiny().eval(), torch.randn(2, 10, 20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = network(mel)
    assert low.dtype == torch.float32
    full = network(mel)
    assert (low - full).norm() < 0.05 * full.norm()


def test_lengths_that_do_not_fit_are_refused() -> None:
    for fft_length, hop_length in ((1024, 600), (1023, 256), (1024, 255), (1024, 0)):
        with pytest.raises(ValueError, match=f"fft_length={fft_length} for hops of {hop_length} samples"):
            Vocos(80, hop_length, fft_length=fft_length)


def test_onnx_runtime_agrees_for_any_length(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network, path = tiny().eval(), tmp_path / "vocoder.onnx"
    torch.onnx.export(
        network,
        (torch.zeros(1, 10, 50),),
        path,
        dynamo=True,
        input_names=["mel"],
        output_names=["waveform"],
        dynamic_shapes=({2: "frames"},),
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [put.type for put in (*session.get_inputs(), *session.get_outputs())] == ["tensor(float)"] * 2
    for frames in (37, 90):
        mel = torch.randn(1, 10, frames)
        (waveform,) = session.run(None, {"mel": mel.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(waveform), network(mel), rtol=1e-4, atol=1e-6)
