"""Asking a teacher: what it says is stored, and some teachers cannot be asked once for all."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from made_up import CLASSES, fingerprint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kd_lightning.frontend.features import SpecMasks
from kd_lightning.labels.clip_labeller import TOGETHER, ClipLabeller
from kd_lightning.labels.format import Unit
from kd_lightning.labels.reader import StoredLabels, open_labels
from kd_lightning.labels.writer import LabelWriter
from kd_lightning.models.waveform_model import KeywordOutput

CLIPS = TOGETHER + 30
CORPUS = torch.randn(2, CLIPS, 8, generator=torch.Generator().manual_seed(0))


class Batch(NamedTuple):
    waveform: Tensor
    masks: SpecMasks
    ids: list[str]


def loader(units: Any, batch_size: int) -> DataLoader[Any]:
    """Clips of eight samples, in two views."""
    batches = []
    for view, begin, end in units:
        for first in range(begin, end, batch_size):
            rows = range(first, min(first + batch_size, end))
            none = torch.zeros(len(rows), 0, 2)
            batches.append(Batch(CORPUS[view, rows], SpecMasks(none, none), [f"cut{row}" for row in rows]))
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


class Linear(nn.Module):
    """A teacher whose logits are known."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, len(CLASSES)))

    def forward(self, waveform: Tensor, masks: SpecMasks) -> KeywordOutput:
        return KeywordOutput(self.network(waveform))


def label(teacher: nn.Module, folder: Path, **changes: Any) -> StoredLabels:
    wanted = fingerprint(**{"clips": CLIPS, "views": 2, "dtype": "float32"} | changes)
    writer = LabelWriter(folder, wanted)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.predict(ClipLabeller(teacher.eval(), writer, loader), return_predictions=False)
    writer.finish()
    return open_labels(folder, wanted)


def test_every_clip_and_view_gets_what_the_teacher_says_of_it(tmp_path: Path) -> None:
    teacher = Linear()
    labels = label(teacher, tmp_path, taps=["0"])
    for view in (0, 1):
        stored = labels.read(range(CLIPS), [view] * CLIPS)
        hidden = teacher.network[0](CORPUS[view])
        torch.testing.assert_close(stored.taps["0"], hidden)
        torch.testing.assert_close(stored.logits, teacher.network[1](hidden))


class OverTheBatch(Linear):
    """Takes the mean of the batch away, as BatchNorm in training does."""

    def forward(self, waveform: Tensor, masks: SpecMasks) -> KeywordOutput:
        return super().forward(waveform - waveform.mean(dim=0), masks)


def test_a_teacher_that_looks_at_the_rest_of_the_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"logits of cut0 change by 0\.\d+ with the clips beside it"):
        label(OverTheBatch(), tmp_path)
    assert list(tmp_path.iterdir()) == []


class Loud(Linear):
    def forward(self, waveform: Tensor, masks: SpecMasks) -> KeywordOutput:
        return KeywordOutput(super().forward(waveform, masks).logits * 1e7)


def test_logits_beyond_float16_are_refused_by_name_and_fit_float32(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"the teacher's logits of cut\d+ are not finite in float16: set labels\.dtype"
    ):
        label(Loud(), tmp_path, dtype="float16")
    assert list(tmp_path.iterdir()) == []
    assert label(Loud(), tmp_path).read([0], [0]).logits.abs().max() > 65504


class Folded(nn.Module):
    def forward(self, hidden: Tensor) -> Tensor:
        return hidden.reshape(-1)


def test_activations_without_a_row_for_each_clip_are_refused(tmp_path: Path) -> None:
    teacher = Linear()
    teacher.network = nn.Sequential(
        nn.Linear(8, 6), Folded(), nn.Unflatten(0, (-1, 6)), nn.Linear(6, len(CLASSES))
    )
    with pytest.raises(
        ValueError, match=r"'1' gives \(768,\), and only tensors of one row a clip can be stored"
    ):
        label(teacher, tmp_path, taps=["1"])


def test_what_is_there_is_not_asked_for_again(tmp_path: Path) -> None:
    label(Linear(), tmp_path)
    (tmp_path / "view_001" / "block_0000.safetensors").unlink()
    asked: list[Unit] = []

    def noting(units: Any, batch_size: int) -> DataLoader[Any]:
        asked.extend(units)
        return loader(units, batch_size)

    writer = LabelWriter(tmp_path, fingerprint(clips=CLIPS, views=2, dtype="float32"))
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.predict(ClipLabeller(Linear().eval(), writer, noting), return_predictions=False)
    assert asked == [Unit(1, 0, CLIPS)]
