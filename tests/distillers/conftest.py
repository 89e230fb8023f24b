"""A distiller of small networks and a batch of random clips."""

import functools
from collections.abc import Callable

import pytest
import torch

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.distillers.hints import Hint
from kd_lightning.distillers.keyword import KeywordDistiller
from kd_lightning.distillers.terms import LogitMatching, Supervised
from kd_lightning.frontend.features import MFCC, SpecMasks
from kd_lightning.losses.hints import hint
from kd_lightning.losses.labels import IGNORE, cross_entropy
from kd_lightning.losses.logits import soft_targets
from kd_lightning.models.tc_resnet import TCResNet
from kd_lightning.models.waveform_model import WaveformModel

CLASSES = ["yes", "no", "stop"]


def model(width: float, **frontend: float) -> WaveformModel:
    made = MFCC(**frontend)
    return WaveformModel(made, TCResNet(bins=made.bins, classes=len(CLASSES), depth=8, width=width))


@pytest.fixture
def batch() -> KeywordBatch:
    """Six clips, two of them without a visible label."""
    generator = torch.Generator().manual_seed(0)
    none = torch.zeros(6, 0, 2)
    return KeywordBatch(
        waveform=torch.randn(6, 16000, generator=generator) * 0.1,
        labels=torch.tensor([0, 1, 2, 0, IGNORE, IGNORE]),
        masks=SpecMasks(none, none),
        ids=[f"cut{i}" for i in range(6)],
        speakers=["a", "a", "b", "b", "c", "c"],
        snr=torch.full((6,), float("nan")),
    )


@pytest.fixture
def make_distiller() -> Callable[..., KeywordDistiller]:
    """Builds a distiller; ``with_hint`` adds a hint to the soft targets."""

    def make(with_teacher: bool = True, with_hint: bool = False, teacher_bins: int = 40) -> KeywordDistiller:
        torch.manual_seed(0)
        student = model(0.25)
        teacher = model(0.5, bins=teacher_bins, coefficients=teacher_bins) if with_teacher else None
        terms = {"labels": Supervised(cross_entropy)}
        weights: dict[str, float] = {"labels": 1.0}
        if with_teacher:
            terms["soft_targets"] = LogitMatching(functools.partial(soft_targets, temperature=2.0))
            weights["soft_targets"] = 2.0
        if with_hint:
            terms["hint"] = Hint(hint, student="blocks.1", teacher="blocks.2")
            weights["hint"] = 0.5
        return KeywordDistiller(
            classes=CLASSES,
            student=student,
            teacher=teacher,
            terms=terms,
            weights=weights,
            optimizer=functools.partial(torch.optim.SGD, lr=0.1),
        )

    return make
