"""The distiller knows nothing of audio: here a rule teaches a perceptron which side of a circle a point is on."""

import functools

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.distillers.keyword import KeywordDistiller
from kd_lightning.distillers.terms import LogitMatching, Supervised
from kd_lightning.frontend.features import SpecMasks
from kd_lightning.losses.labels import IGNORE, cross_entropy
from kd_lightning.losses.logits import soft_targets
from kd_lightning.models.waveform_model import WaveformModel


class Coordinates(nn.Module):
    """A frontend that leaves points in the plane as they are."""

    bins = 2
    sample_rate = 2
    settings = {"frontend": "Coordinates"}  # noqa: RUF012

    def forward(self, points: Tensor, masks: SpecMasks | None = None) -> Tensor:
        return points


class Circle(nn.Module):
    """Knows the rule: a point outside the unit circle is of class 1."""

    def forward(self, points: Tensor) -> Tensor:
        outside = 4.0 * (points.square().sum(dim=1) - 1.0)
        return torch.stack([-outside, outside], dim=1)


def test_points_without_a_label_are_learnt_from_a_teacher_through_the_same_distiller(tmp_path):
    torch.manual_seed(0)
    points = 1.5 * torch.randn(512, 2)
    batch = KeywordBatch(
        waveform=points,
        labels=torch.full((512,), IGNORE),
        masks=SpecMasks(torch.empty(512, 0, 2), torch.empty(512, 0, 2)),
        ids=[str(number) for number in range(512)],
        speakers=["nobody"] * 512,
        snr=torch.full((512,), torch.nan),
    )
    perceptron = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    distiller = KeywordDistiller(
        classes=["inside", "outside"],
        student=WaveformModel(Coordinates(), perceptron),
        teacher=WaveformModel(Coordinates(), Circle()),
        terms={"labels": Supervised(cross_entropy), "soft": LogitMatching(soft_targets)},
        weights={"labels": 1.0, "soft": 1.0},
        optimizer=functools.partial(torch.optim.Adam, lr=0.02),
    )
    unseen = 1.5 * torch.randn(2000, 2)
    truth = unseen.square().sum(dim=1) > 1
    before = (distiller(unseen).argmax(dim=1) == truth).float().mean()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(distiller, DataLoader([batch] * 300, batch_size=None))
    after = (distiller(unseen).argmax(dim=1) == truth).float().mean()
    assert before < 0.8
    assert after > 0.93
