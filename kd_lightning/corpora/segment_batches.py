"""Batches of pieces of recordings, which a vocoder learns from."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kd_lightning.corpora.buckets import Integers
from kd_lightning.corpora.prepared_utterances import PreparedUtterances
from kd_lightning.corpora.utterance_rows import UtteranceRows, texts_of


class SegmentBatch(NamedTuple):
    """Segments of equal length in training, and whole recordings elsewhere.

    Attributes:
        waveform: (B, T) float32 in [-1, 1], a whole number of hops, zero beyond a recording's end.
        samples: (B,) int64, valid samples.
        labelled: (B,) bool, whether the recording may be learnt from; it is there in any case, for its mel.
        ids: (B,) cut ids.
        speakers: (B,) speakers.
        texts: (B,) what is said in the whole recording, as the corpus writes it.
    """

    waveform: Tensor
    samples: Tensor
    labelled: Tensor
    ids: list[str]
    speakers: list[str]
    texts: list[str]

    def to(self, device: torch.device, non_blocking: bool = False) -> "SegmentBatch":
        """The batch on a device. Lightning would look at each id and each text for something to move."""
        moved = ("waveform", "samples", "labelled")
        return self._replace(
            **{name: getattr(self, name).to(device, non_blocking=non_blocking) for name in moved}
        )


class SegmentDataset(UtteranceRows[SegmentBatch]):
    """Reads whole batches from a prepared corpus, for vocoders.

    A view of a recording is a segment of it, whose place follows from (seed, cut id, view): everywhere in it with equal
    probability, by whole hops, so that its mel is about that of the whole recording.

    Args:
        prepared: the corpus.
        rows: (N,) of the prepared records, by position in this dataset.
        visible: (N,) bool, whose recordings may be learnt from.
        hop_length: in samples.
        segment: length of all segments in samples, a whole number of hops; ``None`` for whole recordings.
        seed: of the places.
    """

    def __init__(
        self,
        prepared: PreparedUtterances,
        rows: Integers,
        visible: npt.NDArray[np.bool_],
        hop_length: int,
        segment: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(prepared, rows, visible)
        self._hop_length, self._segment, self._seed = hop_length, segment, seed

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> SegmentBatch:
        chosen = [utterance for utterance, _ in items]
        records = self.prepared.records[self.rows[chosen]]
        ids = texts_of(records["id"])
        pieces = [
            self._piece(record, id, view) for record, id, (_, view) in zip(records, ids, items, strict=True)
        ]
        longest = max(map(len, pieces)) if self._segment is None else self._segment
        waveform = np.zeros((len(pieces), longest + -longest % self._hop_length), np.float32)
        for row, piece in zip(waveform, pieces, strict=True):
            row[: len(piece)] = piece
        return SegmentBatch(
            waveform=torch.from_numpy(waveform),
            samples=torch.tensor([len(piece) for piece in pieces]),
            labelled=torch.from_numpy(self._visible[chosen]),
            ids=ids,
            speakers=texts_of(records["speaker"]),
            texts=[self.prepared.text(record) for record in records],
        )

    def _piece(self, record: np.void, id: str, view: int) -> npt.NDArray[np.float32]:
        if self._segment is None:
            return self.waveform(record)
        start = segment_start(self._seed, id, view, int(record["samples"]), self._segment, self._hop_length)
        return self.waveform(record, start, start + self._segment)


def segment_start(seed: int, id: str, view: int, samples: int, segment: int, hop_length: int) -> int:
    """The first sample of a segment, drawn from the whole hops at which all of it lies in the recording.

    Args:
        seed: of the places.
        id: of the cut.
        view: the number of the draw.
        samples: of the recording; in one that is shorter than a segment all start at 0.
        segment: length of a segment in samples.
        hop_length: in samples.
    """
    digest = hashlib.blake2b(f"{seed}/{id}/{view}".encode(), digest_size=8).digest()
    places = max(0, samples - segment) // hop_length + 1
    return int.from_bytes(digest, "big") * places // 2**64 * hop_length
