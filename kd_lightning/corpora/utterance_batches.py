"""Ragged batches of utterances with their transcripts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kd_lightning.corpora.augment import Augment, Augmented, NoiseBank
from kd_lightning.corpora.buckets import Integers, Seconds
from kd_lightning.corpora.prepared_utterances import PreparedUtterances
from kd_lightning.corpora.utterance_rows import UtteranceRows, texts_of
from kd_lightning.frontend.features import SpecMasks
from kd_lightning.frontend.text import normalise
from kd_lightning.frontend.tokens import Tokens
from kd_lightning.labels.utterance_reader import StoredUtterances, UtteranceLabels, spelt

# The corpora have no recordings of noise.
_WHITE_NOISE = NoiseBank(np.empty(0, np.int16), [])


class UtteranceBatch(NamedTuple):
    """Utterances of about the same length.

    Attributes:
        waveform: (B, T) float32 in [-1, 1], zero beyond each utterance's end.
        samples: (B,) int64, valid samples.
        tokens: (B, U) int64 transcripts, padded with 0; empty where hidden.
        token_lengths: (B,) int64.
        labelled: (B,) bool, whether the transcript may be seen.
        masks: SpecAugment's masks, none in evaluation.
        other_masks: of a second view of the same waveform.
        ids: (B,) cut ids.
        speakers: (B,) speakers.
        texts: (B,) what is said, as the corpus writes it.
        snr: (B,) float32 signal-to-noise ratio of the recording in dB, NaN where unknown.
        stored: what a teacher said of these utterances in these views, where its labels are stored.
    """

    waveform: Tensor
    samples: Tensor
    tokens: Tensor
    token_lengths: Tensor
    labelled: Tensor
    masks: SpecMasks
    other_masks: SpecMasks
    ids: list[str]
    speakers: list[str]
    texts: list[str]
    snr: Tensor
    stored: StoredUtterances | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> "UtteranceBatch":
        """The batch on a device. Lightning would look at each id and each text for something to move."""
        moved = ("waveform", "samples", "tokens", "token_lengths", "labelled")
        return self._replace(
            **{name: getattr(self, name).to(device, non_blocking=non_blocking) for name in moved},
            masks=self.masks.to(device, non_blocking),
            other_masks=self.other_masks.to(device, non_blocking),
            stored=None if self.stored is None else self.stored.to(device, non_blocking),
        )


class UtteranceDataset(UtteranceRows[UtteranceBatch]):
    """Reads whole batches from a prepared corpus, for recognition.

    Args:
        prepared: the corpus.
        rows: (N,) of the prepared records, by position in this dataset.
        visible: (N,) bool, whose transcripts may be seen.
        tokens: spells them.
        language: of the corpus, as in BCP 47.
        augment: makes the views; None leaves every utterance as it is.

    Attributes:
        labels: what a teacher said of each utterance in each view, sent with every batch; None without.
    """

    def __init__(
        self,
        prepared: PreparedUtterances,
        rows: Integers,
        visible: npt.NDArray[np.bool_],
        tokens: Tokens,
        language: str,
        augment: Augment | None = None,
    ) -> None:
        super().__init__(prepared, rows, visible)
        self.labels: UtteranceLabels | None = None
        self._tokens = tokens
        self._language = language
        self._augment = augment

    def view_seconds(self, utterances: Integers, view: int) -> Seconds:
        """(N,) lengths of the utterances at these positions (N,) in a view."""
        records = self.prepared.records[self.rows[utterances]]
        seconds = records["samples"] / self.prepared.sample_rate
        if self._augment is not None:
            seconds /= [self._augment.speed_of(id.decode(), view) for id in records["id"].tolist()]
        return seconds.astype(np.float32)

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> UtteranceBatch:
        chosen = [utterance for utterance, _ in items]
        records = self.prepared.records[self.rows[chosen]]
        ids = texts_of(records["id"])
        texts = [self.prepared.text(record) for record in records]
        views = [self._view(*one) for one in zip(records, ids, [view for _, view in items], strict=True)]
        visible = self._visible[chosen]
        tokens = [
            torch.tensor(self.spell(text) if seen else [], dtype=torch.long)
            for text, seen in zip(texts, visible.tolist(), strict=True)
        ]
        return UtteranceBatch(
            waveform=pad_sequence([torch.from_numpy(view.waveform) for view in views], batch_first=True),
            samples=torch.tensor([len(view.waveform) for view in views]),
            tokens=pad_sequence(tokens, batch_first=True),
            token_lengths=torch.tensor([len(spelt) for spelt in tokens]),
            labelled=torch.from_numpy(visible),
            masks=_stacked([(view.time_masks, view.frequency_masks) for view in views]),
            other_masks=self._other_masks(views, ids, items),
            ids=ids,
            speakers=texts_of(records["speaker"]),
            texts=texts,
            snr=torch.from_numpy(records["snr"].astype(np.float32)),
            stored=None if self.labels is None else self._said(self.labels, items, ids),
        )

    def spell(self, text: str) -> list[int]:
        """Tokens of a text as the corpus writes it."""
        return self._tokens.encode(normalise(text, self._language))

    def _said(
        self, labels: UtteranceLabels, items: Sequence[tuple[int, int]], ids: list[str]
    ) -> StoredUtterances:
        """What the teacher said, its sentences in the student's tokens."""
        chosen = [utterance for utterance, _ in items]
        said, heard = labels.read(chosen, [view for _, view in items])
        if not heard:
            return said
        seen = self._visible[chosen].tolist()
        trusted = [labels.trusts(*one) for one in zip(heard, seen, ids, strict=True)]
        return said._replace(heard=spelt(heard, trusted, self.spell))

    def _view(self, record: np.void, id: str, view: int) -> Augmented:
        waveform = self.waveform(record)
        if self._augment is None:
            none = np.empty((0, 2), np.float32)
            return Augmented(waveform, none, none)
        return self._augment(waveform, id, view, _WHITE_NOISE)

    def _other_masks(
        self, views: list[Augmented], ids: list[str], items: Sequence[tuple[int, int]]
    ) -> SpecMasks:
        if self._augment is None:
            return _stacked([(view.time_masks, view.frequency_masks) for view in views])
        return _stacked(
            [
                self._augment.other_masks(id, number, len(view.waveform))
                for view, id, (_, number) in zip(views, ids, items, strict=True)
            ]
        )


def _stacked(masks: Sequence[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]) -> SpecMasks:
    time, frequency = zip(*masks, strict=True)
    return SpecMasks(torch.from_numpy(np.stack(time)), torch.from_numpy(np.stack(frequency)))
