"""What all corpora of utterances share: decoded once, split, some of the training ones not shown whole."""

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock
from lhotse import CutSet
from torch.utils.data import DataLoader

from kd_lightning.corpora.buckets import Buckets, EachOnce, EachView, Integers, Seconds
from kd_lightning.corpora.decoding import SAMPLE_RATE
from kd_lightning.corpora.prepared_utterances import PreparedUtterances, prepare_utterances
from kd_lightning.corpora.selection import hash_order
from kd_lightning.corpora.utterance_files import Split, UtteranceFile
from kd_lightning.corpora.utterance_rows import UtteranceRows
from kd_lightning.corpora.whole_batches import WholeBatches
from kd_lightning.labels.format import Unit

_LOCK = ".corpus.lock"
# Utterances whose costs are measured: the length of a short command.
_MEASURED_SECONDS = 4

_log = logging.getLogger(__name__)


class DecodedCorpus(WholeBatches):
    """Utterances and what is said in them.

    A corpus says where its files are: :meth:`find`, :meth:`fingerprint` and :meth:`files`. A task says what is in a
    batch: :meth:`dataset` and :meth:`train_dataloader`.

    Args:
        root: the published folder or a folder up to three levels above it; None for ``synthetic``.
        data: folder for everything that is written.
        language: of the corpus, as in BCP 47: "en", "tr".
        sample_rate: to which all audio is brought, in Hz.
        labelled_fraction: share of the training utterances that are seen whole; validation and test keep all.
        unlabelled: True to train on all utterances; False for the labelled ones alone.
        batch_seconds: audio with padding in a batch of one process; in training it is up to the task.
        min_seconds: shorter training utterances are left out.
        max_seconds: longer training utterances are left out.
        workers: processes that load batches; 0 for none.
        seed: of the order.
        synthetic: writes the embedded corpus, used when there is no root.
        limit: the first so many utterances of each split; None for all.

    Attributes:
        sample_rate: in Hz.
        clip_samples: length of the utterance whose costs are measured.
        classes: the tokens by number, after ``setup``; none where no text is read.
        train_size: training utterances, after ``setup``.
        labelled_size: those that are seen whole, after ``setup``.
        skipped: reason by utterance, for what could not be used, after ``setup``.
    """

    #: What the utterances that are not labelled come without.
    hidden: ClassVar[str]

    def __init__(
        self,
        root: str | None,
        data: str,
        language: str = "en",
        sample_rate: int = SAMPLE_RATE,
        labelled_fraction: float = 1.0,
        unlabelled: bool = False,
        batch_seconds: float = 100.0,
        min_seconds: float = 0.1,
        max_seconds: float = 20.0,
        workers: int = 0,
        seed: int = 0,
        synthetic: Any = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(workers, limit)
        if not 0 <= labelled_fraction <= 1:
            raise ValueError(f"corpus.labelled_fraction={labelled_fraction} is not in [0, 1]")
        self._root = Path(root) if root is not None else None
        self._data = Path(data)
        self.language, self.sample_rate = language, sample_rate
        self.clip_samples = _MEASURED_SECONDS * sample_rate
        self._labelled_fraction, self._unlabelled = labelled_fraction, unlabelled
        self._batch_seconds, self._bounds = batch_seconds, (min_seconds, max_seconds)
        self._seed = seed
        self._synthetic, self._limit = synthetic, limit
        self._prepared: PreparedUtterances | None = None
        self._test: UtteranceRows[Any] | None = None
        self.classes: list[str] = []
        self.train_size = 0
        self.labelled_size = 0
        self.skipped: dict[str, str] = {}

    # What a corpus says of itself

    @abstractmethod
    def find(self) -> Path:
        """The folder of the corpus, written or fetched if need be.

        Raises:
            FileNotFoundError, ValueError: there is none, there are two, or it is another corpus; what to do.
        """

    @abstractmethod
    def fingerprint(self, folder: Path) -> str:
        """A name for the files of the corpus and for what is done to them, another one when that changes."""

    @abstractmethod
    def files(self, folder: Path, skipped: dict[str, str]) -> Mapping[Split, Iterable[UtteranceFile]]:
        """The utterances of every split; what has to be left out goes to ``skipped`` with the reason."""

    def _written(self) -> Path:
        """The embedded corpus, spoken now unless it was before."""
        if self._synthetic is None:
            raise ValueError("corpus.root is null: set it to the corpus's folder")
        root: Path = self._synthetic.write(self._data)
        return root

    # What a task makes of it

    @abstractmethod
    def dataset(
        self, prepared: PreparedUtterances, rows: Integers, visible: npt.NDArray[np.bool_], split: Split
    ) -> UtteranceRows[Any]:
        """What reads batches of the utterances in ``rows`` (N,), of which ``visible`` (N,) may be seen whole."""

    @abstractmethod
    def train_dataloader(self) -> DataLoader[Any]:
        """The rest of the current epoch, from the batch that training has reached."""

    #: What a recording must be, see :func:`~kd_lightning.corpora.decoding.decode`.
    require: ClassVar[Callable[[npt.NDArray[np.float32]], None] | None] = None

    def _understand(self, prepared: PreparedUtterances) -> str:
        """Learn from the corpus, before any dataset is made, what they need to know; says it in a few words."""
        return ""

    def _usable(self, prepared: PreparedUtterances) -> npt.NDArray[np.bool_]:
        """(N,) which of all utterances can be used."""
        return np.ones(len(prepared.records), bool)

    # Lightning

    def prepare_data(self) -> None:
        """Find or write the corpus and decode it, unless that was done; one process at a time."""
        self._open()

    def setup(self, stage: str | None = None) -> None:
        """Choose the utterances of every split, or for ``stage="test"`` of the test split alone.

        Raises:
            ValueError: a split is empty, or nothing is left to see.
        """
        if self._test is not None:
            return
        prepared = self._open()
        self.skipped = dict(prepared.skipped)
        said = self._understand(prepared)
        test = self._held_out(prepared, Split.TEST)
        said += f"{len(test)} test utterances"
        if stage != "test":
            self._train = self._training(prepared)
            self._validation = self._held_out(prepared, Split.VALIDATION)
            hours = float(self._train.seconds.sum()) / 3600
            said += f", {len(self._validation)} to validate, {self.train_size} ({hours:.1f} h) to train on"
            said += f", {self.labelled_size} of them with a {self.hidden}"
        self._test = test
        _log.info(said)
        if self.skipped:
            id, reason = next(iter(self.skipped.items()))
            _log.warning(
                "%d utterances are left out, such as %s (%s), see %s",
                len(self.skipped),
                id,
                reason,
                prepared.folder,
            )

    def cuts(self, split: Split) -> CutSet:
        """The lhotse manifest of a split, lazily opened, after ``prepare_data``."""
        return self._open().cuts(split)

    def views_dataloader(self, units: Sequence[Unit], batch_seconds: float) -> DataLoader[Any]:
        """Training utterances by their position in chosen views: what a teacher is to be asked.

        Args:
            units: which; a batch never holds utterances of two.
            batch_seconds: audio with padding in a batch; 0 for utterances alone.
        """
        return self._loader(self._train, EachView(units, self._train.seconds, batch_seconds))

    def view_ids(self, unit: Unit) -> list[str]:
        """The cut ids of a unit in the order of its utterances."""
        return self._train.ids(unit.begin, unit.end)

    def use_labels(self, labels: Any) -> None:
        """Send what a teacher said of each training utterance in its view with the batches."""
        self._train.labels = labels

    def val_dataloader(self) -> DataLoader[Any]:
        """The validation utterances, each once over all processes."""
        return self._each_once(self._validation)

    def test_dataloader(self) -> DataLoader[Any]:
        """The test utterances, each once over all processes."""
        assert self._test is not None, "setup comes first"
        return self._each_once(self._test)

    def _open(self) -> PreparedUtterances:
        if self._prepared is None:
            with self._locked():
                folder = self.find()
                name = self.fingerprint(folder)
                skipped: dict[str, str] = {}
                files = self.files(folder, skipped)
                require = type(self).require
                self._prepared = prepare_utterances(
                    name, files, skipped, self._data, self.sample_rate, require
                )
        return self._prepared

    def _locked(self) -> FileLock:
        """Keeps other processes from what is written."""
        self._data.mkdir(parents=True, exist_ok=True)
        return FileLock(self._data / _LOCK)

    def _bucketed(self, views: int, seconds: Callable[[Integers, int], Seconds]) -> DataLoader[Any]:
        """Training batches of about equal lengths.

        An epoch has as many of them as all training utterances fill, whichever are drawn from.

        Args:
            views: number of different views.
            seconds: (positions (N,), view) -> their lengths (N,).
        """
        rank, world_size = self._rank()
        chosen = self._drawn()
        once = len(EachOnce(self._train.seconds, self._batch_seconds * world_size, 0, 1))
        batches = Buckets(
            chosen,
            lambda view: seconds(chosen, view),
            once,
            self._batch_seconds,
            views,
            self._seed,
            rank,
            world_size,
            self._position,
        )
        return self._loader(self._train, batches)

    def _drawn(self) -> npt.NDArray[np.int64]:
        """Positions of the training utterances that batches are drawn from."""
        return np.arange(self.train_size) if self._unlabelled else np.flatnonzero(self._visible)

    def _facts(self, views: int, augment: dict[str, Any] | None = None, *more: bytes) -> dict[str, Any]:
        """What the training views follow from, as fields of a :class:`~kd_lightning.labels.fingerprint.Fingerprint`.

        Audio, order of the utterances, augmentation and number of views; where the files lie, how batches are cut and
        what is hidden do not matter to a teacher.

        Args:
            views: number of different views.
            augment: settings of what makes them.
            more: what else of the corpus matters.
        """
        prepared = self._open()
        with self._locked():
            audio = prepared.digest()
        records = self._train.prepared.records[self._train.rows]  # and text, which has no audio
        digest = hashlib.blake2b(audio.encode(), digest_size=16)
        digest.update(b"\n".join(records["id"].tolist()))
        digest.update(records["start"].tobytes())
        for part in more:
            digest.update(part)
        return {
            "corpus": digest.hexdigest(),
            "clips": len(records),
            "classes": self.classes,
            "augment": augment,
            "views": views,
        }

    def _training(self, prepared: PreparedUtterances) -> UtteranceRows[Any]:
        rows = self._rows(prepared, Split.TRAIN)
        rows = rows[self._lasting(prepared.records["samples"][rows] / prepared.sample_rate)]
        if not len(rows):
            raise ValueError(
                "the training split has no utterance between corpus.min_seconds and corpus.max_seconds"
            )
        # Those of a smaller fraction are among those of a larger one.
        ids = prepared.records["id"][rows]
        self._visible = np.zeros(len(rows), bool)
        self._visible[hash_order(ids)[: round(self._labelled_fraction * len(rows))]] = True
        self.train_size, self.labelled_size = len(rows), int(self._visible.sum())
        if not self._unlabelled and not self.labelled_size:
            raise ValueError(
                f"corpus.labelled_fraction={self._labelled_fraction} leaves no {self.hidden} to learn from: raise it"
            )
        return self.dataset(prepared, rows, self._visible, Split.TRAIN)

    def _lasting(self, seconds: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
        """(N,) which training utterances are neither too short nor too long, of their ``seconds`` (N,)."""
        kept = (seconds >= self._bounds[0]) & (seconds <= self._bounds[1])
        if left_out := int((~kept).sum()):
            _log.warning(
                "%d training utterances are left out: not between corpus.min_seconds=%g and corpus.max_seconds=%g",
                left_out,
                *self._bounds,
            )
        return kept

    def _held_out(self, prepared: PreparedUtterances, split: Split) -> UtteranceRows[Any]:
        rows = self._rows(prepared, split)
        if not len(rows):
            why = f" that can be used: {next(iter(self.skipped.values()))}" if self.skipped else ""
            raise ValueError(f"the {split.name.lower()} split of the corpus has no utterance{why}")
        return self.dataset(prepared, rows, np.ones(len(rows), bool), split)

    def _rows(self, prepared: PreparedUtterances, split: Split) -> Integers:
        chosen = (prepared.records["split"] == split) & self._usable(prepared)
        return np.flatnonzero(chosen)[: self._limit]

    def _each_once(self, dataset: UtteranceRows[Any]) -> DataLoader[Any]:
        return self._loader(dataset, EachOnce(dataset.seconds, self._batch_seconds, *self._rank()))
