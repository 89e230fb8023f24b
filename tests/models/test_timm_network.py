"""timm's networks on features: published sizes, resolution, and what is refused."""

import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn

from kd_lightning.experiment.compose import conf_folder
from kd_lightning.experiment.targets import build
from kd_lightning.frontend.features import MFCC
from kd_lightning.models.taps import Taps
from kd_lightning.models.timm_network import TimmNetwork
from kd_lightning.models.waveform_model import WaveformModel

timm = pytest.importorskip("timm")
SMALLEST = "mobilenetv3_small_050"
FILES = [
    *(("student", name) for name in ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_small_050")),
    *(("student", name) for name in ("mobilenet_v4_small", "efficientnet_b0", "efficientnet_lite0")),
    *(("teacher", name) for name in ("mobilenet_v2", "efficientnet_b0", "efficientnet_b2")),
]


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("mobilenetv2_100", 3_500_000),  # torchvision's table; 3.4M in Sandler et al. 2018
        ("mobilenetv2_035", 1_680_000),  # the authors' table of checkpoints
        ("mobilenetv3_small_100", 2_540_000),  # Howard et al. 2019
        ("mobilenetv3_large_100", 5_480_000),
        ("mobilenetv4_conv_small", 3_800_000),  # Qin et al. 2024
        ("efficientnet_b0", 5_290_000),  # Tan and Le 2019
        ("efficientnet_b2", 9_110_000),
        ("efficientnet_lite0", 4_650_000),  # the authors' table of checkpoints
    ],
)
def test_parameters_are_within_two_percent_of_the_papers(name: str, published: int) -> None:
    # Of a thousand classes. One channel in place of three saves less than a thousand parameters.
    with torch.device("meta"):
        assert parameters(TimmNetwork(40, 1000, name)) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(("group", "name"), FILES)
def test_the_size_in_the_comment_of_each_file_is_counted(group: str, name: str) -> None:
    comment = (conf_folder() / group / f"{name}.yaml").read_text().splitlines()[0]
    stated = float(comment.partition("M parameters")[0].rpartition(" ")[2])
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=[f"{group}={name}"])
    with torch.device("meta"):
        network = build(OmegaConf.to_container(config[group].network), nn.Module, bins=40, classes=12)
    assert round(parameters(network) / 1e6, 1) == stated


@pytest.mark.parametrize(("stride", "shape"), [(2, (2, 4)), (1, (3, 7))])
def test_the_stem_decides_the_resolution(stride: int, shape: tuple[int, int]) -> None:
    network = TimmNetwork(40, 12, SMALLEST, stem_stride=stride).eval()
    with Taps(network, ["network.blocks"]) as hidden:
        logits = network(torch.randn(2, 40, 101)).logits
    assert hidden["network.blocks"].shape[2:] == shape
    assert logits.shape == (2, 12)


def test_it_is_timms_network_on_normalised_features() -> None:
    features = 3 + 10 * torch.randn(16, 40, 101)
    network = TimmNetwork(40, 12, SMALLEST).eval()
    theirs = timm.create_model(SMALLEST, in_chans=1, num_classes=12).eval()
    theirs.load_state_dict(network.network.state_dict())
    network.norm.momentum = 1.0
    network.norm.train()(features)
    network.eval()
    mean, std = features.mean(dim=(0, 2), keepdim=True), features.std(dim=(0, 2), keepdim=True)
    expected = theirs(((features - mean) / std).unsqueeze(1))
    torch.testing.assert_close(network(features).logits, expected, rtol=1e-3, atol=1e-4)


def test_logits_of_a_clip_do_not_depend_on_its_batch() -> None:
    network = TimmNetwork(40, 12, SMALLEST).eval()
    features = torch.randn(5, 40, 101)
    together = network(features).logits
    torch.testing.assert_close(together[2:3], network(features[2:3]).logits)


def test_dropout_and_drop_path_act_in_training_only() -> None:
    network = TimmNetwork(40, 12, "efficientnet_lite0", dropout=0.5, drop_path=0.5).eval()
    features = torch.randn(2, 40, 101)
    assert torch.equal(network(features).logits, network(features).logits)
    for module in network.modules():  # BatchNorm keeps its statistics, so only what drops can differ
        module.train(not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d))
    with Taps(network, ["network.blocks"]) as first:
        network(features)
    with Taps(network, ["network.blocks"]) as second:
        network(features)
    assert not torch.equal(first["network.blocks"], second["network.blocks"])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mobilenetv3_smal", "timm has no network 'mobilenetv3_smal'; close matches: .*mobilenetv3_small_"),
        ("hf-hub:someone/something", "timm has no network 'hf-hub:someone/something'"),
        ("vit_tiny_patch16_224", "takes images of one size only"),
    ],
)
def test_names_that_are_no_convolutional_network_of_timm_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TimmNetwork(40, 12, name)


def test_stems_are_left_as_they_are_or_told_not_to_halve_the_image() -> None:
    with pytest.raises(ValueError, match="leave stem_stride at 2"):
        TimmNetwork(40, 12, "convnext_atto", stem_stride=1)
    with pytest.raises(ValueError, match="stem_stride=4: set it to 1 or 2"):
        TimmNetwork(40, 12, SMALLEST, stem_stride=4)


def test_without_timm_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match=r"timm is missing: pip install 'kd_lightning\[networks\]'"):
        TimmNetwork(40, 12, SMALLEST)


def test_onnx_runtime_agrees_for_any_batch(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = WaveformModel(MFCC(), TimmNetwork(40, 12, SMALLEST))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    model(clips(16))  # statistics of clips, not the initial ones
    model.eval()
    torch.onnx.export(
        model,
        (clips(2),),
        tmp_path / "model.onnx",
        dynamo=True,
        input_names=["waveform"],
        output_names=["logits"],
        dynamic_shapes={"waveform": {0: "batch"}},
        verbose=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        with torch.no_grad():
            ours = model(clips(count)).logits
        onnx = torch.from_numpy(session.run(["logits"], {"waveform": clips(count).numpy()})[0])
        torch.testing.assert_close(onnx, ours, rtol=0, atol=1e-3)
    assert ours.std(dim=0).max() > 0.1  # the clips are told apart, so agreement means something


def clips(count: int) -> Tensor:
    rising = torch.randn(count, 16000, generator=torch.Generator().manual_seed(count)).cumsum(dim=1) * 0.01
    return rising.clamp(-1, 1)
