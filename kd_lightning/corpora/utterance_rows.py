"""Some utterances of a prepared corpus, read as whole batches."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from kd_lightning.corpora.buckets import Integers, Seconds
from kd_lightning.corpora.prepared_utterances import PreparedUtterances

Batch = TypeVar("Batch", covariant=True)


class UtteranceRows(Dataset[Batch]):
    """Nothing of the corpus is held in memory but row numbers. A dataset of some task says what a batch is:
    ``__getitems__`` makes one of a list of positions and views.

    Args:
        prepared: the corpus.
        rows: (N,) of the prepared records, by position in this dataset.
        visible: (N,) bool, which of them may be seen whole: with the transcript, or with the recording.

    Attributes:
        prepared: the corpus.
        rows: as given.
        labels: what a teacher said of each utterance in each view, sent with every batch; None without.
    """

    labels: Any = None

    def __init__(self, prepared: PreparedUtterances, rows: Integers, visible: npt.NDArray[np.bool_]) -> None:
        self.prepared = prepared
        self.rows = rows
        self._visible = visible

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: tuple[int, int]) -> Batch:
        return self.__getitems__([item])

    def __getitems__(self, items: Sequence[tuple[int, int]]) -> Batch:
        """The utterances and views ``items`` as one batch, in their order."""
        raise NotImplementedError

    @property
    def seconds(self) -> Seconds:
        """(N,) length of each utterance."""
        samples = self.prepared.records["samples"][self.rows]
        return (samples / self.prepared.sample_rate).astype(np.float32)

    def ids(self, begin: int, end: int) -> list[str]:
        """The cut ids of the utterances from ``begin`` to before ``end``."""
        return texts_of(self.prepared.records["id"][self.rows[begin:end]])

    def waveform(self, record: np.void, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float32]:
        """The samples of an utterance from ``start`` to before ``stop``, in [-1, 1]."""
        begin, samples = int(record["start"]), int(record["samples"])
        stop = samples if stop is None else min(stop, samples)
        return self.prepared.audio[begin + start : begin + stop] * np.float32(1 / 32768)


def texts_of(column: npt.NDArray[np.bytes_]) -> list[str]:
    """A column of ids or speakers as text."""
    return [name.decode() for name in column.tolist()]
