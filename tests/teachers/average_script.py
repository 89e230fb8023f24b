"""Trains a mean teacher with BatchNorm on two ranks; run by test_ranks.py as a user's script would be.

Argument: folder where each rank writes a digest of the teacher that each of its steps heard.
"""

import functools
import hashlib
import json
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.distillers.keyword import KeywordDistiller
from kd_lightning.distillers.terms import LogitMatching, Step, Supervised
from kd_lightning.frontend.features import LogMel, SpecMasks
from kd_lightning.losses.labels import cross_entropy
from kd_lightning.losses.logits import soft_targets
from kd_lightning.models.tc_resnet import TCResNet
from kd_lightning.models.waveform_model import WaveformModel
from kd_lightning.teachers.moving_average import MovingAverage


class Listening(KeywordDistiller):
    """Notes the teacher of each step."""

    def run_networks(self, batch: KeywordBatch) -> Step:
        tensors = self.teacher.state_dict().values()
        self.heard.append(hashlib.blake2b(b"".join(t.numpy().tobytes() for t in tensors)).hexdigest())
        return super().run_networks(batch)


def batches(rank: int) -> list[KeywordBatch]:
    """Other clips on each rank."""
    generator = torch.Generator().manual_seed(rank)
    none = torch.zeros(4, 0, 2)
    return [
        KeywordBatch(
            waveform=0.1 * torch.randn(4, 16000, generator=generator),
            labels=torch.tensor([0, 1, 2, 0]),
            masks=SpecMasks(none, none),
            ids=["a", "b", "c", "d"],
            speakers=["a", "b", "c", "d"],
            snr=torch.full((4,), torch.nan),
        )
        for _ in range(4)
    ]


class OwnBatches(pl.LightningDataModule):
    def train_dataloader(self) -> DataLoader:
        return DataLoader(batches(self.trainer.global_rank), batch_size=None)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    frontend = LogMel()
    student = WaveformModel(frontend, TCResNet(bins=frontend.bins, classes=3, depth=8, width=0.25))
    distiller = Listening(
        classes=["yes", "no", "stop"],
        student=student,
        teacher=MovingAverage(student, momentum=0.5),
        terms={"labels": Supervised(cross_entropy), "soft": LogitMatching(soft_targets)},
        weights={"labels": 1.0, "soft": 1.0},
        optimizer=functools.partial(torch.optim.SGD, lr=0.1),
    )
    distiller.heard = []
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(distiller, datamodule=OwnBatches())
    Path(sys.argv[1], f"rank{trainer.global_rank}.json").write_text(json.dumps(distiller.heard))
    trainer.strategy.barrier()


if __name__ == "__main__":
    main()
