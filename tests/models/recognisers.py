"""What every recognition network is asked: that all of it learns, and that its exported graph says the same."""

from pathlib import Path
from typing import TypeVar

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from ragged import LENGTHS, ragged
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_lightning.experiment.compose import conf_folder
from kd_lightning.experiment.targets import build
from kd_lightning.metrics.efficiency import parameters

Network = TypeVar("Network", bound=nn.Module)


def settled(network: Network) -> Network:
    """In eval mode, with BatchNorm statistics other than the initial ones, which do nothing."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.weight, mean=1.0, std=0.1)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


def assert_every_parameter_learns(network: nn.Module, bins: int) -> None:
    output = network.train()(ragged(bins), LENGTHS)
    for logits in (output.logits, *output.intermediate):
        (logits * torch.randn_like(logits)).sum().backward(retain_graph=True)
    idle = [
        name for name, weights in network.named_parameters() if weights.grad is None or not weights.grad.any()
    ]
    assert idle == []


def assert_the_comment_counts(group: str, name: str) -> None:
    """The size in the first line of a config file: "... 64k parameters at 30 tokens"."""
    comment = (conf_folder() / group / f"{name}.yaml").read_text().splitlines()[0]
    before, _, after = comment.partition(" parameters at ")
    stated, unit = before.rpartition(" ")[2][:-1], {"k": 1e3, "M": 1e6}[before[-1]]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=[f"{group}={name}"])
    with torch.device("meta"):
        settings = OmegaConf.to_container(config[group].network)
        network = build(settings, nn.Module, bins=80, classes=int(after.split()[0]))
    digits = len(stated.partition(".")[2])
    assert f"{parameters(network) / unit:.{digits}f}" == stated


class _Scores(nn.Module):
    """Only what an exported graph can give."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.network(features, lengths)[:2]


def assert_onnx_runtime_agrees(network: nn.Module, bins: int, path: Path) -> None:
    """For one utterance of any length."""
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.onnx.export(
        _Scores(network).eval(),
        (torch.zeros(1, bins, 50), torch.tensor([50])),
        path,
        dynamo=True,
        input_names=["features", "lengths"],
        output_names=["logits", "frames"],
        dynamic_shapes={"features": {2: "frames"}, "lengths": {}},
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for length in (37, 90):
        features, lengths = torch.rand(1, bins, length) * 2 - 1, torch.tensor([length])
        logits, frames = session.run(None, {"features": features.numpy(), "lengths": lengths.numpy()})
        with torch.no_grad():
            expected = network(features, lengths)
        assert frames.tolist() == expected.lengths.tolist()
        torch.testing.assert_close(torch.from_numpy(logits), expected.logits, rtol=1e-3, atol=1e-4)
