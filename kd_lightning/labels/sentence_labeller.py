"""What is stored of a teacher that reads sentences aloud: mels, durations, and how far they can be trusted."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kd_lightning.labels.format import Unit
from kd_lightning.labels.labeller import Labeller, require_finite, require_the_same
from kd_lightning.labels.speech import TaughtSpeech
from kd_lightning.labels.writer import LabelWriter
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import Sentences

MEL, DURATIONS, FOCUS, ENDED = "mel", "durations", "focus", "ended"
# Seconds of the recordings, or of what they would take.
TOGETHER = 60.0


class SentenceLabeller(Labeller):
    """Stores what an acoustic network says of sentences.

    Args:
        teacher: see :class:`~kd_lightning.labels.labeller.Labeller`.
        writer: of the store.
        loader: ``(units, seconds together) -> DataLoader`` of their sentences, in any order.
        cuts: ``unit -> ids``, the order of its rows.
        read: ``(teacher, sentences) -> TaughtSpeech``.
    """

    teacher: AcousticModel

    def __init__(
        self,
        teacher: AcousticModel,
        writer: LabelWriter,
        loader: Callable[[Sequence[Unit], float], DataLoader[Any]],
        cuts: Callable[[Unit], list[str]],
        read: Callable[[AcousticModel, Sentences], TaughtSpeech],
    ) -> None:
        super().__init__(teacher, writer, loader, TOGETHER, cuts)
        self.read = read

    def answer(self, batch: Any) -> dict[str, Tensor | Sequence[Tensor]]:
        taught = self.read(self.teacher, batch.sentences)
        said: dict[str, Tensor | Sequence[Tensor]] = {
            MEL: [mel.to(self.writer.dtype) for mel in _mels(taught)],
            FOCUS: taught.focus,
            ENDED: taught.ended.to(torch.uint8),
        }
        require_finite(said, batch.ids)
        if taught.recorded.durations is not None:
            lengths = batch.sentences.lengths.tolist()
            said[DURATIONS] = [
                row[:length].int() for row, length in zip(taught.recorded.durations, lengths, strict=True)
            ]
        return said

    def require_independence(self, batch: Any) -> None:
        shortest = int(batch.sentences.lengths.argmin())
        length = int(batch.sentences.lengths[shortest])
        tokens, lengths, speakers = (part[shortest : shortest + 1] for part in batch.sentences)
        alone = self.read(self.teacher, Sentences(tokens[:, :length], lengths, speakers))
        beside = self.read(self.teacher, batch.sentences)
        require_the_same(_mels(alone)[0], _mels(beside)[shortest], batch.ids[shortest])


def _mels(taught: TaughtSpeech) -> list[Tensor]:
    """(frames, bins) of each sentence."""
    frames = taught.recorded.frames.tolist()
    return [mel[:, :count].T for mel, count in zip(taught.recorded.mel, frames, strict=True)]
