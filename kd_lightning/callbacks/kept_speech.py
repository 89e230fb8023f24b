"""What a network says, for people to hear and to see: while it learns, and in the test."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers import WandbLogger

from kd_lightning.callbacks.speech_picture import speech_picture
from kd_lightning.files import safe_name, whole, write


class KeptSpeech(Callback):
    """Keeps sentences as the student says them, beside their recordings, in the run's folder.

    Of the test, ``audio/<cut>.flac``, ``audio/<cut>.reference.flac`` and ``spectrograms/<cut>.npz``, which holds
    ``mel`` and ``reference_mel`` (bins, frames), ``hop_seconds`` and, of a decoder, ``attention`` (S, U) and the names
    of its ``tokens`` (U,). Each process keeps the first sentences of its own share of the test. A sentence of which the
    student says nothing at all leaves no files.

    While it learns, the first sentences of validation every few epochs, in ``samples/epoch_<n>`` and in wandb where a
    run is shown there.

    Args:
        most: how many sentences are kept.
        every_epochs: how often the student speaks while it learns; 0: never.
    """

    def __init__(self, most: int = 6, every_epochs: int = 5) -> None:
        if most < 0 or every_epochs < 0:
            raise ValueError(
                f"callbacks.speech: most={most} and every_epochs={every_epochs} cannot be negative"
            )
        self.most = most
        self.every_epochs = every_epochs

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        pl_module.most_spoken = self.most

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        epoch = trainer.current_epoch + 1
        if batch_idx or dataloader_idx or trainer.sanity_checking or not self._speaks_after(epoch):
            return
        if not trainer.is_global_zero:
            return
        spoken = [one for one in pl_module.speak_samples(batch)[: self.most] if one.waveform.size]
        folder, frontend = (
            Path(trainer.default_root_dir, "samples", f"epoch_{epoch}"),
            pl_module.student.frontend,
        )
        pictures = []
        for one in spoken:
            _write_audio(folder, one, frontend.sample_rate)
            pictures.append(folder / f"{safe_name(one.cut)}.png")
            write(pictures[-1], speech_picture(one, frontend.hop_seconds))
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _show(logger, spoken, pictures, frontend.sample_rate, trainer.global_step)

    def on_test_end(self, trainer: Trainer, pl_module: Any) -> None:
        folder, frontend = Path(trainer.default_root_dir), pl_module.student.frontend
        for one in (one for one in pl_module.spoken if one.waveform.size):
            _write_audio(folder / "audio", one, frontend.sample_rate)
            arrays: dict[str, Any] = {"mel": one.mel, "reference_mel": one.reference_mel}
            if one.attention is not None:
                arrays |= {"attention": one.attention, "tokens": np.array(one.tokens, dtype=np.str_)}
            with (
                whole(folder / "spectrograms" / f"{safe_name(one.cut)}.npz") as beside,
                beside.open("wb") as file,
            ):
                np.savez_compressed(file, hop_seconds=frontend.hop_seconds, **arrays)

    def _speaks_after(self, epoch: int) -> bool:
        return self.every_epochs > 0 and epoch % self.every_epochs == 0


def _write_audio(folder: Path, one: Any, rate: int) -> None:
    """What was said and the recording, as two files."""
    for ending, waveform in (("", one.waveform), (".reference", one.reference)):
        with whole(folder / f"{safe_name(one.cut)}{ending}.flac") as beside:
            sf.write(beside, waveform, rate, format="FLAC")


def _show(logger: WandbLogger, spoken: Sequence[Any], pictures: Sequence[Path], rate: int, step: int) -> None:
    """The same in wandb, a list a key, so that a sentence keeps its place over the epochs."""
    cuts = [one.cut for one in spoken]
    rates = [rate] * len(cuts)
    for key, waveforms in (
        ("samples/speech", [one.waveform for one in spoken]),
        ("samples/recordings", [one.reference for one in spoken]),
    ):
        logger.log_audio(key, waveforms, step, caption=cuts, sample_rate=rates)
    logger.log_image("samples/spectrograms", [str(path) for path in pictures], step, caption=cuts)
