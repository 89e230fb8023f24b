"""Audio of what a network understood worst, for people to listen to."""

import heapq
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf
from pytorch_lightning import Callback, LightningModule, Trainer

from kd_lightning.corpora.utterance_batches import UtteranceBatch
from kd_lightning.files import safe_name, whole
from kd_lightning.metrics.word_errors import word_edits


class KeptAudio(Callback):
    """Keeps the test utterances with the most word errors, of each process, in the run's folder: ``audio/<cut>.flac``.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int = 80) -> None:
        self.most = most
        # A heap, the fewest errors first: errors, cut, waveform (T,).
        self._worst: list[tuple[int, str, npt.NDArray[np.float32]]] = []

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._worst = []

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(batch, UtteranceBatch):
            return
        said = pl_module.predictions[-len(batch.ids) :]
        edits = word_edits([line["reference"] for line in said], [line["output"] for line in said])
        columns = (batch.ids, batch.waveform.cpu().numpy(), batch.samples.tolist(), edits)
        for cut, waveform, samples, one in zip(*columns, strict=True):
            heapq.heappush(self._worst, (one.errors, cut, waveform[:samples].copy()))
            if len(self._worst) > self.most:
                heapq.heappop(self._worst)

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        folder = Path(trainer.default_root_dir, "audio")
        rate = pl_module.student.frontend.sample_rate
        for _, cut, waveform in self._worst:
            with whole(folder / f"{safe_name(cut)}.flac") as beside:
                sf.write(beside, waveform, rate, format="FLAC")
