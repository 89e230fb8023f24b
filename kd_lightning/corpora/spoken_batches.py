"""Ragged batches of sentences and how they were spoken."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kd_lightning.corpora.buckets import Integers, Seconds
from kd_lightning.corpora.pitch_tracks import PitchTracks
from kd_lightning.corpora.prepared_utterances import PreparedUtterances
from kd_lightning.corpora.spelt_sentences import SpeltSentences
from kd_lightning.corpora.utterance_rows import UtteranceRows, texts_of
from kd_lightning.models.acoustic_output import Sentences


class SpokenBatch(NamedTuple):
    """Sentences that take about the same time.

    Attributes:
        sentences: what is said, and by whom; all is there, also where the recording is hidden.
        waveform: (B, T) float32 in [-1, 1], zero beyond each recording's end; T is at least 1.
        samples: (B,) int64, valid samples; 0 where the recording is hidden.
        durations: (B, U) float32 seconds of each token, which sum to the recording's; 0 where it is hidden. ``None``
            where the corpus does not tell.
        f0: (B, N) float32 Hz every 5 ms of the recordings, 0 where there is no voice; ``None`` where nobody asked.
        labelled: (B,) bool, whether the recording may be seen.
        ids: (B,) cut ids.
        speakers: (B,) speakers, as the corpus names them.
        texts: (B,) what is said, as the corpus writes it.
        stored: what a teacher said of these sentences, where that is stored.
    """

    sentences: Sentences
    waveform: Tensor
    samples: Tensor
    durations: Tensor | None
    f0: Tensor | None
    labelled: Tensor
    ids: list[str]
    speakers: list[str]
    texts: list[str]
    stored: Any = None

    def to(self, device: torch.device, non_blocking: bool = False) -> "SpokenBatch":
        """The batch on a device. Lightning would look at each id and each text for something to move."""
        moved = ("sentences", "waveform", "samples", "durations", "f0", "labelled", "stored")
        there = {name: value for name in moved if (value := getattr(self, name)) is not None}
        return self._replace(
            **{name: value.to(device, non_blocking=non_blocking) for name, value in there.items()}
        )


class SpokenDataset(UtteranceRows[SpokenBatch]):
    """Reads whole batches from a prepared corpus, for synthesis. Views of a sentence are all the same.

    Args:
        prepared: the corpus.
        rows: (N,) of the prepared records, by position in this dataset.
        visible: (N,) bool, whose recordings may be seen.
        spelt: the sentences of all records.
        speakers: names by number.
        pitch: the fundamental frequencies of all records; ``None`` where nobody asked.
    """

    def __init__(
        self,
        prepared: PreparedUtterances,
        rows: Integers,
        visible: npt.NDArray[np.bool_],
        spelt: SpeltSentences,
        speakers: Sequence[str],
        pitch: PitchTracks | None = None,
    ) -> None:
        super().__init__(prepared, rows, visible)
        self._pitch = pitch
        self._spelt = spelt
        self._numbers = {speaker: number for number, speaker in enumerate(speakers)}

    def view_seconds(self, utterances: Integers, view: int) -> Seconds:
        """(N,) lengths of the utterances at these positions (N,), in any view."""
        return self.seconds[utterances]

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> SpokenBatch:
        chosen = [utterance for utterance, _ in items]
        rows = self.rows[chosen]
        records = self.prepared.records[rows]
        visible = self._visible[chosen]
        spelt = [self._spelt[row] for row in rows.tolist()]
        waveforms = [
            torch.from_numpy(self.waveform(record, stop=None if seen else 0))
            for record, seen in zip(records, visible.tolist(), strict=True)
        ]
        speakers = texts_of(records["speaker"])
        sentences = Sentences(
            tokens=pad_sequence([torch.from_numpy(one.tokens.astype(np.int64)) for one in spelt], True),
            lengths=torch.tensor([len(one.tokens) for one in spelt]),
            speakers=torch.tensor([self._numbers[speaker] for speaker in speakers]),
        )
        durations = None
        if spelt[0].seconds is not None:
            durations = pad_sequence([torch.tensor(one.seconds) for one in spelt], batch_first=True)
            durations *= torch.from_numpy(visible)[:, None]
        f0 = None
        if self._pitch is not None:
            tracks = [torch.tensor(self._pitch[row]) for row in rows.tolist()]
            f0 = pad_sequence(tracks, batch_first=True) * torch.from_numpy(visible)[:, None]
        return SpokenBatch(
            sentences=sentences,
            # A spectrum of no samples does not exist: where all is hidden, there is one.
            waveform=pad_sequence([torch.zeros(1), *waveforms], batch_first=True)[1:],
            samples=torch.tensor([len(waveform) for waveform in waveforms]),
            durations=durations,
            f0=f0,
            labelled=torch.from_numpy(visible),
            ids=texts_of(records["id"]),
            speakers=speakers,
            texts=[self.prepared.text(record) for record in records],
            stored=None if self.labels is None else self.labels.read(chosen, [view for _, view in items]),
        )
