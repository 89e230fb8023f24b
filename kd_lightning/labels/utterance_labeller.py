"""What is stored of a teacher that hears utterances: what it says of frames, hidden frames, the sentences it hears."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from kd_lightning.frontend.features import SpecMasks
from kd_lightning.labels.format import LENGTHS, TAP, Unit
from kd_lightning.labels.hypotheses import Sentence, rows_of
from kd_lightning.labels.labeller import Labeller, require_finite, require_the_same
from kd_lightning.labels.writer import LabelWriter
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.recognition_output import RecognitionOutput

# Seconds of audio.
TOGETHER = 160.0

# (features (B, bins, frames), frames (B,), what a CTC layer says of them, transcripts or None) -> sentences
Listener = Callable[[Tensor, Tensor, RecognitionOutput | None, Sequence[str | None]], list[Sentence]]


class UtteranceLabeller(Labeller):
    """Stores what a recogniser says of utterances; of frames, only those that are not padding.

    A network whose outputs depend on padding hears them one by one.

    Args:
        teacher: see :class:`~kd_lightning.labels.labeller.Labeller`.
        writer: of the store; its fingerprint says what is stored.
        loader: ``(units, seconds together) -> DataLoader`` of their utterances, in any order; with no seconds, alone.
        cuts: ``unit -> ids``, the order of its rows.
        listener: hears the sentences; ``None`` where none are stored.
    """

    teacher: Recogniser

    def __init__(
        self,
        teacher: Recogniser,
        writer: LabelWriter,
        loader: Callable[[Sequence[Unit], float], DataLoader[Any]],
        cuts: Callable[[Unit], list[str]],
        listener: Listener | None,
    ) -> None:
        alone = getattr(teacher.network, "depends_on_padding", False)
        super().__init__(teacher, writer, loader, 0.0 if alone else TOGETHER, cuts)
        self.listener = listener

    def answer(self, batch: Any) -> dict[str, Tensor | Sequence[Tensor]]:
        fingerprint = self.writer.fingerprint
        features = self.teacher.frontend(batch.waveform, batch.masks, batch.samples)
        frames = self.teacher.frontend.frames(batch.samples)
        said: dict[str, Tensor | Sequence[Tensor]] = {}
        output = None
        # A decoder's sentences are searched for, and need no pass of their own before.
        if fingerprint.logits or fingerprint.taps or not self.teacher.writes:
            with self.taps as taps:
                output = self.teacher.recognise(features, frames)
            if fingerprint.logits:
                said |= self._frames(output)
            if fingerprint.taps:
                said |= self._hidden(taps, output)
            require_finite(said, batch.ids)
            if said:
                said[LENGTHS] = output.lengths.int()
        if self.listener is not None:
            seen = batch.labelled.tolist()
            transcripts = [text if visible else None for text, visible in zip(batch.texts, seen, strict=True)]
            said |= rows_of(self.listener(features, frames, output, transcripts))
        return said

    def _frames(self, output: RecognitionOutput) -> dict[str, Sequence[Tensor]]:
        """What is said of the valid frames of each utterance."""
        logits = output.logits
        if logits is None:
            raise ValueError(
                "a transfer term reads frames of a CTC layer, and the teacher has none: choose another teacher, or "
                "transfer=sequence, which learns from what it hears"
            )
        classes = len(self.writer.fingerprint.classes)
        if logits.shape[2] != classes:
            raise ValueError(
                f"the teacher scores {logits.shape[2]} tokens and the corpus has {classes}: take transfer=sequence, "
                "which learns from the teacher's text"
            )
        lengths = output.lengths.tolist()
        valid = torch.cat([row[:length] for row, length in zip(logits, lengths, strict=True)])
        encoded = self.writer.encode(valid.float(), {})
        return {name: tensor.cpu().split(lengths) for name, tensor in encoded.items()}

    def _hidden(self, taps: Mapping[str, Any], output: RecognitionOutput) -> dict[str, Sequence[Tensor]]:
        """The valid frames (n, ...) of each activation; a layer has the same share of them as the output."""
        hidden: dict[str, Sequence[Tensor]] = {}
        for path, dim in (self.writer.fingerprint.frame_dims or {}).items():
            tap = taps[path]
            if not isinstance(tap, Tensor) or tap.ndim < 3 or len(tap) != len(output.lengths):
                found = tuple(tap.shape) if isinstance(tap, Tensor) else type(tap).__name__
                raise ValueError(
                    f"the teacher's {path!r} gives {found}, and only tensors of one row an utterance with frames can "
                    "be stored: tap another module, or teacher.stored=false"
                )
            frames = tap.movedim(dim, 1)
            whole = output.lengths.max() if output.logits is None else output.logits.shape[1]
            counts = (output.lengths * frames.shape[1] // whole).tolist()
            hidden[TAP + path] = [
                row[:count].to(self.writer.dtype) for row, count in zip(frames, counts, strict=True)
            ]
        return hidden

    def require_independence(self, batch: Any) -> None:
        shortest = int(batch.samples.argmin())
        one = slice(shortest, shortest + 1)
        samples = batch.samples[one]
        masks = SpecMasks(*(mask[one] for mask in batch.masks))
        alone = self._said(batch.waveform[one, : int(samples)], masks, samples)[0]
        beside = self._said(batch.waveform, batch.masks, batch.samples)[shortest]
        require_the_same(alone, beside, batch.ids[shortest])

    def _said(self, waveform: Tensor, masks: SpecMasks, samples: Tensor) -> list[Tensor]:
        """Logits of the valid frames of each utterance, or their hidden frames where there is no CTC layer."""
        features = self.teacher.frontend(waveform, masks, samples)
        frames = self.teacher.frontend.frames(samples)
        network: Any = self.teacher.network
        output = self.teacher.recognise(features, frames)
        said, lengths = output.logits, output.lengths
        if said is None:
            said, lengths = network.encode(features, frames)
        return [row[:length].float() for row, length in zip(said, lengths.tolist(), strict=True)]
