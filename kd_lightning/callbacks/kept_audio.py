"""Audio of what a network understood worst, for people to listen to."""

import heapq
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.loggers import WandbLogger

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.corpora.utterance_batches import UtteranceBatch
from kd_lightning.files import safe_name, whole
from kd_lightning.metrics.word_errors import word_edits

# How many of them are sent to wandb.
SENT = 12


class KeptAudio(Callback):
    """Keeps the test utterances with the most word errors, of each process, in the run's folder: ``audio/<cut>.flac``.

    Of clips of one word those that are wrong, the surest first. The worst few are sent to wandb, too.

    Args:
        most: how many are kept.
    """

    def __init__(self, most: int = 80) -> None:
        self.most = most
        # A heap, the fewest errors first: errors, how sure the network is of them, cut, what it said, waveform (T,).
        self._worst: list[tuple[int, float, str, str, npt.NDArray[np.float32]]] = []

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
        # A recogniser that spots keywords besides is tested on them second: its predictions are of sentences.
        if dataloader_idx > 0 or not isinstance(batch, UtteranceBatch | KeywordBatch):
            return
        said = pl_module.predictions[-len(batch.ids) :]
        edits = word_edits([line["reference"] for line in said], [line["output"] for line in said])
        if isinstance(batch, KeywordBatch):
            lengths, sure = [batch.waveform.shape[1]] * len(said), [line["score"] for line in said]
        else:
            lengths, sure = batch.samples.tolist(), [0.0] * len(said)
        heard = [f"{line['reference']} -> {line['output']}" for line in said]
        columns = (batch.ids, batch.waveform.cpu().numpy(), lengths, edits, sure, heard)
        for cut, waveform, length, one, score, words in zip(*columns, strict=True):
            heapq.heappush(self._worst, (one.errors, score, cut, words, waveform[:length].copy()))
            if len(self._worst) > self.most:
                heapq.heappop(self._worst)

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        folder = Path(trainer.default_root_dir, "audio")
        rate = pl_module.student.frontend.sample_rate
        for _, _, cut, _, waveform in self._worst:
            with whole(folder / f"{safe_name(cut)}.flac") as beside:
                sf.write(beside, waveform, rate, format="FLAC")
        sent = heapq.nlargest(SENT, self._worst)
        for logger in trainer.loggers if sent else ():
            if isinstance(logger, WandbLogger):
                words, waveforms = [one[3] for one in sent], [one[4] for one in sent]
                rates = [rate] * len(sent)
                logger.log_audio(
                    "samples/worst", waveforms, trainer.global_step, caption=words, sample_rate=rates
                )
