"""What the tests of all flows share: weights that do something, and the files in which sizes are named."""

from typing import TypeVar

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from kd_lightning.experiment.compose import conf_folder
from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.waveform_flow import WaveformFlow

Flow = TypeVar("Flow", bound=WaveformFlow)


@torch.no_grad()
def stirred(network: Flow) -> Flow:
    """Weights away from the initial ones, with which couplings do nothing and convolutions only rotate."""
    for weights in network.parameters():
        weights.add_(0.05 * torch.randn_like(weights))
    return network


def configured(group: str, name: str, device: str = "meta") -> WaveformFlow:
    """The network of a config file, for 80 bins and hops of 256 samples; by default without numbers in it."""
    settings = OmegaConf.load(conf_folder() / group / f"{name}.yaml").network
    with torch.device(device):
        network = instantiate(settings, bins=80, hop_length=256)
    assert isinstance(network, WaveformFlow)
    return network


def assert_the_comment_counts(group: str, name: str) -> None:
    """The size in the first line of a config file: "... 23.6M parameters at 80 bins and hops of 256 samples"."""
    comment = (conf_folder() / group / f"{name}.yaml").read_text().splitlines()[0]
    stated = comment.partition("M parameters at 80 bins and hops of 256 samples")[0].rpartition(" ")[2]
    assert f"{parameters(configured(group, name)) / 1e6:.1f}" == stated
