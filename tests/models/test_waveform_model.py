"""WaveformModel: features and network in one graph, in PyTorch and in ONNX Runtime."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from kd_lightning.frontend.features import MFCC, LogMel, SpecMasks
from kd_lightning.models.bc_resnet import BCResNet
from kd_lightning.models.tc_resnet import TCResNet
from kd_lightning.models.waveform_model import WaveformModel


def clips(count: int) -> Tensor:
    """Clips that differ in spectrum, among them one of silence."""
    rising = torch.randn(count, 16000, generator=torch.Generator().manual_seed(count)).cumsum(dim=1) * 0.01
    rising[0] = 0
    return rising.clamp(-1, 1)


def lived_in(model: WaveformModel) -> WaveformModel:
    """Give BatchNorm the statistics of real clips, not the initial ones."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    model(clips(16))
    return model.eval()


def test_it_is_the_network_of_the_masked_features() -> None:
    model = WaveformModel(LogMel(), TCResNet(40, 5, width=0.5)).eval()
    masks = SpecMasks(torch.tensor([[[0.1, 0.4]]]), torch.zeros(1, 0, 2))
    waveform = clips(2)[1:]
    expected = model.network(model.frontend(waveform, masks)).logits
    assert torch.equal(model(waveform, masks).logits, expected)
    assert not torch.equal(model(waveform).logits, expected)


def exported_logits(model: WaveformModel, path: Path, batches: list[Tensor]) -> list[Tensor]:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.onnx.export(
        model,
        (torch.zeros(2, 16000),),
        path,
        dynamo=True,
        input_names=["waveform"],
        output_names=["logits"],
        dynamic_shapes={"waveform": {0: "batch"}},
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(session.run(["logits"], {"waveform": batch.numpy()})[0]) for batch in batches]


@pytest.mark.parametrize(
    ("frontend", "network"),
    [
        pytest.param(MFCC, partial(TCResNet, width=0.35), id="mfcc-tc_resnet"),
        pytest.param(LogMel, BCResNet, id="log_mel-bc_resnet", marks=pytest.mark.slow),
    ],
)
def test_onnx_runtime_agrees_for_any_batch(
    frontend: type[LogMel], network: Callable[[int, int], nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = lived_in(WaveformModel(frontend(), network(40, 12)))
    batches = [clips(count) for count in (1, 2, 5)]
    with torch.no_grad():
        expected = [model(batch).logits for batch in batches]
    assert expected[-1].std(dim=0).max() > 1e-2  # the clips are told apart, so agreement means something
    for ours, onnx in zip(expected, exported_logits(model, tmp_path / "model.onnx", batches), strict=True):
        torch.testing.assert_close(onnx, ours, rtol=0, atol=1e-4)
