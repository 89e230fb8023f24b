"""What the corpora of recognition share: decoded once, batched by length, transcripts partly hidden."""

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from lhotse import CutSet
from torch.utils.data import DataLoader

from kd_lightning.corpora.augment import Augment
from kd_lightning.corpora.buckets import Buckets, EachOnce, EachView, Integers
from kd_lightning.corpora.decoding import SAMPLE_RATE
from kd_lightning.corpora.prepared_utterances import PreparedUtterances, prepare_utterances
from kd_lightning.corpora.selection import hash_order
from kd_lightning.corpora.spelling import Spelling, spelling_of
from kd_lightning.corpora.utterance_batches import UtteranceBatch, UtteranceDataset
from kd_lightning.corpora.utterance_files import Split, UtteranceFile
from kd_lightning.corpora.whole_batches import WholeBatches
from kd_lightning.frontend.text import normalise
from kd_lightning.labels.format import Unit
from kd_lightning.labels.utterance_reader import UtteranceLabels

_LOCK = ".corpus.lock"
# Utterances whose costs are measured: the length of a short command.
_MEASURED_SECONDS = 4

_log = logging.getLogger(__name__)


class Utterances(WholeBatches):
    """Utterances at 16 kHz and their transcripts. A corpus says where its files are: :meth:`find` and :meth:`files`.

    Tokens are learnt from all training transcripts, also those that students do not see: teacher and student have to
    spell alike.

    Args:
        root: the published folder or a folder up to three levels above it; None for ``synthetic``.
        data: folder for everything that is written.
        language: of the corpus, as in BCP 47: "en", "tr".
        spelling: "characters", or pieces of words: "unigram", "bpe"; of no matter where :meth:`spell_with` is told.
        pieces: number of tokens for pieces of words, the blank included.
        labelled_fraction: share of the training utterances whose transcripts are seen; validation and test keep all.
        unlabelled: True to train on all utterances; False for the labelled ones alone.
        views: number of different augmentations of an utterance.
        augment: makes them; None to train on the utterances as they are.
        batch_seconds: audio with padding in a batch of one process.
        min_seconds: shorter training utterances are left out.
        max_seconds: longer training utterances are left out.
        workers: processes that load batches; 0 for none.
        seed: of the order.
        synthetic: writes the embedded corpus, used when there is no root.
        limit: the first so many utterances of each split; None for all.

    Attributes:
        classes: the tokens by number, "<blank>" first, after ``setup``.
        tokens: what spells with them, after ``setup``.
        tokens_model: the file that it takes to spell, after ``setup``; ``None`` where their names are enough.
        sample_rate: in Hz.
        clip_samples: length of the utterance whose costs are measured.
        train_size: training utterances, after ``setup``.
        labelled_size: those whose transcripts are seen, after ``setup``.
        skipped: reason by utterance, for what could not be read, after ``setup``.
    """

    sample_rate = SAMPLE_RATE
    clip_samples = _MEASURED_SECONDS * SAMPLE_RATE

    def __init__(
        self,
        root: str | None,
        data: str,
        language: str = "en",
        spelling: str = "characters",
        pieces: int = 256,
        labelled_fraction: float = 1.0,
        unlabelled: bool = False,
        views: int = 1,
        augment: Augment | None = None,
        batch_seconds: float = 100.0,
        min_seconds: float = 0.1,
        max_seconds: float = 20.0,
        workers: int = 0,
        seed: int = 0,
        synthetic: Any = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(workers)
        if not 0 <= labelled_fraction <= 1:
            raise ValueError(f"corpus.labelled_fraction={labelled_fraction} is not in [0, 1]")
        self._root = Path(root) if root is not None else None
        self._data = Path(data)
        self.language, self._spelling, self._pieces = language, spelling, pieces
        self._labelled_fraction, self._unlabelled = labelled_fraction, unlabelled
        self._views, self._augment = views, augment
        self._batch_seconds, self._bounds = batch_seconds, (min_seconds, max_seconds)
        self._seed = seed
        self._synthetic, self._limit = synthetic, limit
        self._prepared: PreparedUtterances | None = None
        self._brought: Spelling | None = None
        self.classes: list[str] = []
        self.train_size = 0
        self.labelled_size = 0
        self.skipped: dict[str, str] = {}

    # What a corpus says of itself

    def find(self) -> Path:
        """The folder of the corpus, written or fetched if need be.

        Raises:
            FileNotFoundError, ValueError: there is none, there are two, or it is another corpus; what to do.
        """
        raise NotImplementedError

    def _written(self) -> Path:
        """The embedded corpus, spoken now unless it was before."""
        if self._synthetic is None:
            raise ValueError("corpus.root is null: set it to the corpus's folder")
        root: Path = self._synthetic.write(self._data)
        return root

    def fingerprint(self, folder: Path) -> str:
        """A name for the files of the corpus, another one when they change."""
        raise NotImplementedError

    def files(self, folder: Path, skipped: dict[str, str]) -> Mapping[Split, Iterable[UtteranceFile]]:
        """The utterances of every split; what has to be left out goes to ``skipped`` with the reason."""
        raise NotImplementedError

    def spell_with(self, spelling: Spelling) -> None:
        """Spell with the tokens of a network, in place of tokens of the corpus's own; before ``prepare_data``."""
        self._brought = spelling

    # Lightning

    def prepare_data(self) -> None:
        """Find or write the corpus, decode it and learn the tokens, unless that was done; one process at a time."""
        self._spell(self._open())

    def setup(self, stage: str | None = None) -> None:
        """Choose the utterances of every split, or for ``stage="test"`` of the test split alone.

        Raises:
            ValueError: a split is empty, or no transcript is left to see.
        """
        if self.classes:
            return
        prepared = self._open()
        self.tokens, self.tokens_model = self._spell(prepared)
        self._test = self._held_out(prepared, Split.TEST)
        said = f"{self.tokens.size} tokens, {len(self._test)} test utterances"
        if stage != "test":
            self._train = self._training(prepared)
            self._validation = self._held_out(prepared, Split.VALIDATION)
            hours = float(self._train.seconds.sum()) / 3600
            said += f", {len(self._validation)} to validate, {self.train_size} ({hours:.1f} h) to train on"
            said += f", {self.labelled_size} of them with a transcript"
        self.skipped, self.classes = prepared.skipped, self.tokens.pieces
        _log.info(said)
        if self.skipped:
            _log.warning("%d utterances are left out, see %s", len(self.skipped), prepared.folder)

    def cuts(self, split: Split) -> CutSet:
        """The lhotse manifest of a split, lazily opened, after ``prepare_data``."""
        return self._open().cuts(split)

    def train_dataloader(self) -> DataLoader[UtteranceBatch]:
        """The rest of the current epoch, from the batch that training has reached.

        An epoch has as many batches as all training utterances fill, whichever are drawn from.
        """
        rank, world_size = self._rank()
        chosen = np.arange(self.train_size) if self._unlabelled else np.flatnonzero(self._visible)
        once = len(EachOnce(self._train.seconds, self._batch_seconds * world_size, 0, 1))
        batches = Buckets(
            chosen,
            partial(self._train.view_seconds, chosen),
            once,
            self._batch_seconds,
            self._views,
            self._seed,
            rank,
            world_size,
            self._position,
        )
        return self._loader(self._train, batches)

    def views_dataloader(self, units: Sequence[Unit], batch_seconds: float) -> DataLoader[UtteranceBatch]:
        """Training utterances by their position in chosen views: what a teacher is to be asked.

        Args:
            units: which; a batch never holds utterances of two.
            batch_seconds: audio with padding in a batch; 0 for utterances alone.
        """
        return self._loader(self._train, EachView(units, self._train.seconds, batch_seconds))

    def view_ids(self, unit: Unit) -> list[str]:
        """The cut ids of a unit in the order of its utterances."""
        return self._train.ids(unit.begin, unit.end)

    def use_labels(self, labels: UtteranceLabels) -> None:
        """Send what a teacher said of each training utterance in its view with the batches."""
        self._train.labels = labels

    def spell(self, text: str) -> list[int]:
        """Tokens of a text as the corpus writes it, after ``setup``."""
        return self._train.spell(text)

    def view_facts(self) -> dict[str, Any]:
        """What the training views follow from, as fields of a :class:`~kd_lightning.labels.fingerprint.Fingerprint`.

        Audio, order of the utterances, augmentation and number of views; where the files lie, how batches are cut and
        which transcripts are hidden do not matter to a teacher.
        """
        prepared = self._open()
        with FileLock(self._data / _LOCK):
            audio = prepared.digest()
        records = prepared.records[self._train.rows]
        digest = hashlib.blake2b(audio.encode(), digest_size=16)
        digest.update(b"\n".join(records["id"].tolist()))
        digest.update(records["start"].tobytes())
        return {
            "corpus": digest.hexdigest(),
            "clips": len(records),
            "classes": self.classes,
            "augment": None if self._augment is None else self._augment.settings,
            "views": self._views,
        }

    def val_dataloader(self) -> DataLoader[UtteranceBatch]:
        """The validation utterances, each once over all processes."""
        return self._each_once(self._validation)

    def test_dataloader(self) -> DataLoader[UtteranceBatch]:
        """The test utterances, each once over all processes."""
        return self._each_once(self._test)

    def _open(self) -> PreparedUtterances:
        if self._prepared is None:
            self._data.mkdir(parents=True, exist_ok=True)
            with FileLock(self._data / _LOCK):
                folder = self.find()
                name = self.fingerprint(folder)
                skipped: dict[str, str] = {}
                self._prepared = prepare_utterances(name, self.files(folder, skipped), skipped, self._data)
        return self._prepared

    def _spell(self, prepared: PreparedUtterances) -> Spelling:
        """What the training transcripts are spelt with."""
        texts = partial(self._transcripts, prepared)
        with FileLock(self._data / _LOCK):
            return spelling_of(
                texts, prepared.folder, self.language, self._spelling, self._pieces, self._brought
            )

    def _transcripts(self, prepared: PreparedUtterances) -> Iterator[str]:
        for record in prepared.records:
            if record["split"] == Split.TRAIN:
                yield normalise(prepared.text(record), self.language)

    def _training(self, prepared: PreparedUtterances) -> UtteranceDataset:
        rows = self._rows(prepared, Split.TRAIN)
        seconds = prepared.records["samples"][rows] / SAMPLE_RATE
        kept = (seconds >= self._bounds[0]) & (seconds <= self._bounds[1])
        if left_out := int((~kept).sum()):
            _log.warning(
                "%d training utterances are left out: not between corpus.min_seconds=%g and corpus.max_seconds=%g",
                left_out,
                *self._bounds,
            )
        rows = rows[kept]
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
                f"corpus.labelled_fraction={self._labelled_fraction} leaves no transcript to learn from: raise it"
            )
        return UtteranceDataset(prepared, rows, self._visible, self.tokens, self.language, self._augment)

    def _held_out(self, prepared: PreparedUtterances, split: Split) -> UtteranceDataset:
        rows = self._rows(prepared, split)
        if not len(rows):
            raise ValueError(f"the {split.name.lower()} split of the corpus has no utterance")
        return UtteranceDataset(prepared, rows, np.ones(len(rows), bool), self.tokens, self.language)

    def _rows(self, prepared: PreparedUtterances, split: Split) -> Integers:
        return np.flatnonzero(prepared.records["split"] == split)[: self._limit]

    def _each_once(self, dataset: UtteranceDataset) -> DataLoader[UtteranceBatch]:
        return self._loader(dataset, EachOnce(dataset.seconds, self._batch_seconds, *self._rank()))


def fingerprint_of_files(paths: Iterable[Path]) -> str:
    """A name that changes with the place, size or time of any of these files."""
    digest = hashlib.blake2b(digest_size=10)
    for path in paths:
        status = path.stat()
        digest.update(f"{path.resolve()}\t{status.st_size}\t{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
