"""Trains a network without BatchNorm on one or two ranks; run by test_ddp.py as a user's script would be.

Arguments: devices, batch size of a rank, corpus root, data folder, file for the result.
"""

import functools
import json
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn

from kd_lightning.callbacks.curves import Curves
from kd_lightning.corpora.speech_commands import SpeechCommands
from kd_lightning.distillers.keyword import KeywordDistiller
from kd_lightning.distillers.terms import LogitMatching, Supervised
from kd_lightning.frontend.features import LogMel
from kd_lightning.losses.labels import cross_entropy
from kd_lightning.losses.logits import soft_targets
from kd_lightning.models.waveform_model import KeywordOutput, WaveformModel


class WithoutBatchNorm(nn.Module):
    def __init__(self, bins: int, classes: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(bins, channels, 9, stride=4), nn.ReLU(), nn.Conv1d(channels, channels, 5)
        )
        self.head = nn.Linear(channels, classes)

    def forward(self, features: torch.Tensor) -> KeywordOutput:
        return KeywordOutput(self.head(self.layers(features).relu().mean(2)))


def main() -> None:
    devices, batch_size, root, data, result = sys.argv[1:]
    torch.set_num_threads(1)
    datamodule = SpeechCommands(
        root, data, labelled_fraction=0.5, unlabelled=True, batch_size=int(batch_size), seed=0
    )
    datamodule.prepare_data()
    datamodule.setup()
    torch.manual_seed(0)
    frontend = LogMel()
    student = WaveformModel(frontend, WithoutBatchNorm(frontend.bins, len(datamodule.classes), 8))
    teacher = WaveformModel(frontend, WithoutBatchNorm(frontend.bins, len(datamodule.classes), 16))
    distiller = KeywordDistiller(
        classes=datamodule.classes,
        student=student,
        teacher=teacher,
        terms={
            "labels": Supervised(cross_entropy),
            "soft": LogitMatching(functools.partial(soft_targets, temperature=2.0)),
        },
        weights={"labels": 1.0, "soft": 1.0},
        optimizer=functools.partial(torch.optim.SGD, lr=0.1),
        log_every=1,
    )
    folder = Path(result).parent
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=int(devices),
        strategy="ddp" if int(devices) > 1 else "auto",
        max_epochs=2,
        logger=Curves(str(folder)),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(distiller, datamodule=datamodule)
    metrics = trainer.test(distiller, datamodule=datamodule, verbose=False)[0]
    if trainer.is_global_zero:
        weights = {name: tensor.tolist() for name, tensor in student.state_dict().items()}
        Path(result).write_text(
            json.dumps({"metrics": metrics, "predictions": distiller.predictions, "weights": weights})
        )


if __name__ == "__main__":
    main()
