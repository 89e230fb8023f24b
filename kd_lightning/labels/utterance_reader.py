"""Read what a teacher said of utterances: of each frame, of hidden frames, and the sentences that it heard."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, device
from torch.nn.utils.rnn import pad_sequence

from kd_lightning.labels.encoding import INDICES, LOG_PROBABILITIES, LOGITS, TAIL, decode
from kd_lightning.labels.fingerprint import Fingerprint
from kd_lightning.labels.format import LENGTHS, TAP
from kd_lightning.labels.hypotheses import CONFIDENCE, ENDED, TEXT, WER, Sentence, sentences
from kd_lightning.labels.ragged import padded
from kd_lightning.labels.reader import Store, open_store

_OF_FRAMES = (LOGITS, INDICES, LOG_PROBABILITIES, TAIL)


class Heard(NamedTuple):
    """Sentences that a teacher heard, as tokens to learn.

    Attributes:
        tokens: (B, U) int64, padded with 0.
        lengths: (B,) int64.
        trusted: (B,) bool, false where there is none to learn from.
        confidence: (B,) float32 in [0, 1].
    """

    tokens: Tensor
    lengths: Tensor
    trusted: Tensor
    confidence: Tensor


def spelt(heard: Sequence[Sentence], trusted: Sequence[bool], spell: Callable[[str], list[int]]) -> Heard:
    """Sentences in the tokens of the student that learns them.

    Args:
        heard: B sentences.
        trusted: whether each is to be learnt.
        spell: text -> tokens.
    """
    tokens = [torch.tensor(spell(one.whole().text), dtype=torch.long) for one in heard]
    return Heard(
        pad_sequence(tokens, batch_first=True),
        torch.tensor([len(one) for one in tokens]),
        torch.tensor(trusted),
        torch.tensor([one.confidence for one in heard]),
    )


class StoredUtterances(NamedTuple):
    """What a teacher said of a batch of utterances, as far as it is stored.

    Attributes:
        logits: (B, frames, V) float32 of its CTC layer, zero beyond each utterance.
        lengths: (B,) int64, its valid frames.
        taps: activations float32 by module path, their dimensions as the teacher left them.
        heard: the sentences.
    """

    logits: Tensor | None
    lengths: Tensor | None
    taps: dict[str, Tensor]
    heard: Heard | None = None

    def to(self, where: device, non_blocking: bool = False) -> "StoredUtterances":
        """The same on a device."""

        def moved(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor.to(where, non_blocking=non_blocking)

        return StoredUtterances(
            moved(self.logits),
            moved(self.lengths),
            {path: tap.to(where, non_blocking=non_blocking) for path, tap in self.taps.items()},
            None
            if self.heard is None
            else Heard(*(tensor.to(where, non_blocking=non_blocking) for tensor in self.heard)),
        )


class UtteranceLabels(Store):
    """A finished store of what a teacher said of utterances; see :class:`~kd_lightning.labels.reader.Store`.

    Args:
        folder: of the store.
        index: the content of ``labels.json``.
        expected: what the run reads of it.
        max_wer: hypotheses with a higher word error rate are not trusted (Gandhi et al., "Distil-Whisper", 2023);
            ``None`` trusts all. It is known where the transcript may be seen.
    """

    def __init__(
        self, folder: Path, index: dict[str, Any], expected: Fingerprint, max_wer: float | None = None
    ) -> None:
        super().__init__(folder, index, expected)
        self._classes = len(expected.classes)
        self._frame_dims = expected.frame_dims or {}
        self._logits, self._sentences = bool(expected.logits), expected.decoding is not None
        self._max_wer = max_wer

    def read(
        self, utterances: Sequence[int], views: Sequence[int]
    ) -> tuple[StoredUtterances, list[Sentence]]:
        """What the teacher said of each utterance in its view, and the sentences that it heard, if those are read.

        Args:
            utterances: (B,) positions in the training selection.
            views: (B,) number of the view of each.

        Raises:
            ValueError: a shard is damaged; names the file.
        """
        rows = self.rows(utterances, views)
        heard = sentences(rows) if self._sentences else []
        if not (self._logits or self._taps):
            return StoredUtterances(None, None, {}), heard
        lengths = torch.from_numpy(rows[LENGTHS]).long()
        logits = None
        if self._logits:
            frames = {
                name: torch.cat([torch.from_numpy(row) for row in rows[name]])
                for name in _OF_FRAMES
                if name in rows
            }
            logits = padded(decode(frames, self._classes).split(lengths.tolist()))
        taps = {
            path: padded([torch.from_numpy(row).float() for row in rows[TAP + path]]).movedim(1, dim)
            for path, dim in self._frame_dims.items()
        }
        return StoredUtterances(logits, lengths, taps), heard

    def trusts(self, heard: Sentence, transcribed: bool, cut: str) -> bool:
        """Whether a sentence is to be learnt: its decoder came to an end, and it is as right as ``max_wer`` asks.

        Args:
            heard: in the utterance.
            transcribed: whether the transcript may be seen.
            cut: id of the utterance.

        Raises:
            ValueError: it may be seen, and could not when the labels were written.
        """
        if self._max_wer is not None and transcribed and heard.wer is None:
            raise ValueError(
                f"labels.max_wer={self._max_wer}: the transcript of {cut} was hidden when {self.folder} was written, "
                "so its word error rate is not there: label again, or set labels.max_wer=null"
            )
        return heard.is_trusted(self._max_wer if transcribed else None)

    def _reads(self, name: str) -> bool:
        if name in _OF_FRAMES:
            return self._logits
        if name in (TEXT, CONFIDENCE, ENDED, WER):
            return self._sentences
        return super()._reads(name)


def open_utterance_labels(
    folder: Path, expected: Fingerprint, max_wer: float | None = None
) -> UtteranceLabels:
    """Open a finished store of what a teacher said of utterances.

    Args:
        folder: of the store.
        expected: see :func:`~kd_lightning.labels.reader.open_store`.
        max_wer: see :class:`UtteranceLabels`.

    Raises:
        FileNotFoundError, ValueError: see :func:`~kd_lightning.labels.reader.open_store`.
    """
    return open_store(folder, expected, partial(UtteranceLabels, max_wer=max_wer))
