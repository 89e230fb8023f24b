"""An ensemble says the mean of what its members say."""

import torch
from torch import nn

from kd_lightning.models.waveform_model import WaveformModel
from kd_lightning.teachers.ensemble import Ensemble, Features


def test_the_probabilities_are_the_mean_of_the_members_in_float64(make_model, waveform):
    members = [make_model(0), make_model(1, width=0.5), make_model(2, bins=32)]
    with torch.no_grad():
        said = Ensemble(members).eval()(waveform).logits
        expected = torch.stack([member(waveform).logits.double().softmax(1) for member in members]).mean(0)
    assert said.dtype == torch.float32
    torch.testing.assert_close(said.double().softmax(1), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(said.double().exp(), expected, rtol=1e-5, atol=1e-7)


class Says(nn.Module):
    """The same logits for every clip."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(features), -1)


def test_members_that_are_sure_give_finite_logits(make_model, waveform):
    frontend = make_model(0).frontend
    sure = [WaveformModel(frontend, Says(300.0, 0.0, 0.0)), WaveformModel(frontend, Says(280.0, 0.0, 0.0))]
    said = Ensemble(sure)(waveform).logits[0].double()
    second = torch.logsumexp(torch.tensor([-300.0, -280.0], dtype=torch.float64), 0) - torch.tensor(2.0).log()
    torch.testing.assert_close(
        said, torch.stack([torch.zeros_like(second), second, second]), atol=1e-5, rtol=1e-6
    )


def test_half_precision_logits_are_averaged_in_float32(make_model, waveform):
    frontend, network = make_model(0).frontend, Says(1.0, 2.0, 3.0)
    network.logits = network.logits.bfloat16()
    said = Ensemble([WaveformModel(frontend, network)])(waveform).logits
    torch.testing.assert_close(said[0], torch.tensor([1.0, 2.0, 3.0]).log_softmax(0))


def test_equal_frontends_run_once_and_another_one_hears_the_same_clips(make_model, waveform):
    members = [make_model(0), make_model(1), make_model(2, bins=32)]
    heard = []
    for member in members:
        member.frontend.register_forward_hook(
            lambda module, inputs, output: heard.append((module, inputs[0]))
        )
    Ensemble(members)(waveform)
    assert [module.bins for module, _ in heard] == [40, 32]
    assert all(clips is waveform for _, clips in heard)


def test_features_are_those_of_the_frontend_that_asks(make_model, waveform):
    narrow, wide = make_model(0, bins=32).frontend, make_model(0).frontend
    features = Features(waveform)
    assert torch.equal(features(wide), wide(waveform))
    assert torch.equal(features(narrow), narrow(waveform))
    assert features(wide) is features(wide)
