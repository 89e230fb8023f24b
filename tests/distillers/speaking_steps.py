"""Tiny networks that speak or listen, and made-up batches for them: four recordings, of which two are hidden."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kd_lightning.corpora.segment_batches import SegmentBatch
from kd_lightning.corpora.spoken_batches import SpokenBatch
from kd_lightning.frontend.features import LogMel
from kd_lightning.frontend.mel import SILENCE, Mel
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded, Sentences
from kd_lightning.models.feed_forward_acoustic import FeedForwardAcoustic
from kd_lightning.models.quartznet import QuartzNet
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.squeeze_wave import SqueezeWave
from kd_lightning.models.tacotron2 import Tacotron2
from kd_lightning.models.vocoder import Vocoder
from kd_lightning.models.vocos import Vocos

RATE, HOP, BINS = 8000, 64, 16
CLASSES = ["<blank>", "_", "a", "b", "c"]
LABELLED = torch.tensor([True, False, True, False])
LENGTHS = torch.tensor([4, 3, 2, 5])
SECONDS = torch.tensor(
    [
        [0.1, 0.05, 0.0, 0.1, 0.0],
        [0.05, 0.1, 0.05, 0.0, 0.0],
        [0.2, 0.02, 0.0, 0.0, 0.0],
        [0.03, 0.03, 0.1, 0.01, 0.08],
    ]
)
SAMPLES = torch.tensor([2000, 1600, 1760, 2000])


def mel(**settings: Any) -> Mel:
    return Mel(
        **{"sample_rate": RATE, "window_length": 256, "hop_length": HOP, "fft_length": 256}
        | {"bins": BINS, "high_hz": 4000.0}
        | settings
    )


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sentences() -> Sentences:
    places = torch.arange(5)
    tokens = (places + LENGTHS[:, None]) % 4 + 1
    return Sentences(tokens.where(places < LENGTHS[:, None], 0), LENGTHS, torch.zeros(4, dtype=torch.long))


def spoken_batch(**parts: Any) -> SpokenBatch:
    """Sentences whose hidden recordings are in the batch, which no corpus would put there, to see who listens."""
    valid = torch.arange(2000) < SAMPLES[:, None]
    batch = SpokenBatch(
        sentences=sentences(),
        waveform=noise(4, 2000) * valid,
        samples=SAMPLES,
        durations=SECONDS,
        f0=torch.full((4, 51), 120.0),
        labelled=LABELLED,
        ids=["a", "b", "c", "d"],
        speakers=["s"] * 4,
        texts=["one", "two", "three", "four"],
    )
    return batch._replace(**parts)


def segment_batch(**parts: Any) -> SegmentBatch:
    batch = SegmentBatch(
        waveform=noise(4, 2048),
        samples=torch.full((4,), 2048),
        labelled=LABELLED,
        ids=["a", "b", "c", "d"],
        speakers=["s"] * 4,
        texts=["one", "two", "three", "four"],
    )
    return batch._replace(**parts)


def louder_where_hidden(waveform: Tensor) -> Tensor:
    """Other recordings, but for those that may be seen."""
    return waveform.where(LABELLED[:, None], -3 * waveform.roll(7, dims=1))


def feed_forward(**settings: Any) -> AcousticModel:
    torch.manual_seed(0)
    sizes = {"blocks": "convolution", "width": 8, "inner": 8, "encoder_layers": 1, "decoder_layers": 1}
    small = {"kernel": 3, "predictor_width": 8, "predictor_dropout": 0.0, "dropout": 0.0}
    return AcousticModel(
        mel(**settings), FeedForwardAcoustic(bins=BINS, classes=len(CLASSES), **sizes, **small)
    )


def tacotron(decoder_width: int = 8, frames_per_step: int = 2) -> AcousticModel:
    torch.manual_seed(0)
    widths = dict.fromkeys(("encoder_width", "prenet_width", "attention_space", "postnet_width"), 8)
    network = Tacotron2(
        BINS,
        len(CLASSES),
        frames_per_step=frames_per_step,
        attention_width=decoder_width,
        decoder_width=decoder_width,
        encoder_layers=1,
        postnet_layers=2,
        location_filters=2,
        location_kernel=3,
        **widths,
    )
    return AcousticModel(mel(), network)


def vocoder(channels: int = 8, **settings: Any) -> Vocoder:
    torch.manual_seed(0)
    return Vocoder(mel(**settings), Vocos(BINS, HOP, channels, hidden_channels=16, layers=1, fft_length=256))


def flow() -> Vocoder:
    torch.manual_seed(0)
    network = SqueezeWave(BINS, HOP, group=16, flows=2, early_channels=4, layers=1, channels=8)
    return Vocoder(mel(), network)


def recogniser(classes: int) -> Recogniser:
    torch.manual_seed(0)
    frontend = LogMel(sample_rate=RATE, bins=BINS, high_hz=4000.0, padding="zeros")
    small = {"kernels": (3, 3), "repeats": 1, "tail_kernel": 3, "head_channels": 8}
    return Recogniser(frontend, QuartzNet(BINS, classes, channels=(8, 8), **small))


class Reader(nn.Module):
    """Reads each sentence in three frames a token, of the same mel, and looks at each token as surely as it is told.

    Args:
        focus: (B,) the largest weight of its attention in each sentence; ``None`` for a network without attention.
        ended: (B,) bool.
        level: of its mels.
    """

    def __init__(self, focus: Tensor | None = None, ended: Tensor | None = None, level: float = -2.0) -> None:
        super().__init__()
        self.focus, self.ended = focus, ended
        self.level = nn.Parameter(torch.tensor(level))

    def forward(
        self, sentences: Sentences, recorded: Recorded | None = None, frames: Tensor | None = None
    ) -> AcousticOutput:
        count = 3 * sentences.lengths if recorded is None else recorded.frames
        steps, tokens = int(count.max()), sentences.tokens.shape[1]
        spoken = torch.arange(steps) < count[:, None]
        said = self.level.expand(len(count), BINS, steps).where(spoken[:, None], SILENCE)
        durations = 3 * (torch.arange(tokens) < sentences.lengths[:, None])
        if self.focus is None:
            return AcousticOutput(said, count, durations=durations)
        at = (torch.arange(steps) // 3).clamp(max=tokens - 1)
        rest = (1 - self.focus) / (tokens - 1)
        attention = torch.nn.functional.one_hot(at, tokens) * (self.focus - rest)[:, None, None]
        return AcousticOutput(
            said, count, attention=attention + rest[:, None, None], ended=self.ended, hidden=said[:, :8].mT
        )


def reader(**settings: Any) -> AcousticModel:
    return AcousticModel(mel(), Reader(**settings))


def fit(distiller: pl.LightningModule, batches: list[Any], folder: Any, **settings: Any) -> pl.Trainer:
    """A few real steps through Lightning."""
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **settings,
    )
    trainer.fit(distiller, DataLoader(batches, batch_size=None))
    return trainer
