"""Speech Commands for keyword spotting: 35 words, ten words with unknown and silence, or any folders."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock
from lhotse import CutSet
from torch.utils.data import DataLoader

from kd_lightning.corpora.augment import Augment
from kd_lightning.corpora.batches import ClipDataset, ClipStream, EachOnce, EachView, KeywordBatch
from kd_lightning.corpora.decoding import CLIP_SAMPLES, SAMPLE_RATE
from kd_lightning.corpora.download import SPEECH_COMMANDS, TEST_SET_12, fetch
from kd_lightning.corpora.layout import Corpus, Split, find_corpus
from kd_lightning.corpora.prepare import prepare
from kd_lightning.corpora.prepared import Prepared
from kd_lightning.corpora.selection import Classes, Selection, first, labelled
from kd_lightning.corpora.whole_batches import WholeBatches
from kd_lightning.labels.format import Unit
from kd_lightning.labels.reader import StoredLabels

if TYPE_CHECKING:
    from kd_lightning.corpora.synthetic import SyntheticSpeechCommands

_LOCK = ".corpus.lock"

_log = logging.getLogger(__name__)


class SpeechCommands(WholeBatches):
    """Clips of one second at 16 kHz and the word in each (Warden 2018).

    The splits are those of validation_list.txt and testing_list.txt. Folders without the lists can be trained
    on when ``words`` names them and neither ``unknown`` nor ``silence`` is set; the published hash of the
    speaker splits them. With the ten words, unknown and silence of the official test archive, and the archive
    beside the corpus, the archive is the test set; otherwise unknown and silence are made of the test split
    by the rule that makes them for training: the other words, and seconds of background noise, about as many
    as a word has on average.

    Args:
        root: the published folder or a folder up to three levels above it; None for ``synthetic``, or the
            place of ``download``.
        data: folder for everything that is written.
        words: the words that are classes, in this order; None for all of them.
        unknown: whether all other words are a class.
        silence: whether background noise is a class.
        labelled_fraction: share of each class's training clips whose labels are seen; validation and test
            keep all.
        unlabelled: True to train on all clips, with hidden labels IGNORE; False for the labelled ones alone.
        views: number of different augmentations of a clip.
        augment: makes them; None to train on the clips as they are.
        batch_size: clips in a batch of one process.
        workers: processes that load batches; 0 for none.
        seed: of the order.
        download: whether to fetch the published archives where they are missing.
        synthetic: writes the embedded corpus, used when there is no root and no download.
        limit: the first so many clips of each split, from the classes in turn; None for all.

    Attributes:
        classes: names by label, after ``setup``.
        sample_rate: in Hz.
        clip_samples: length of every waveform.
        train_size: training clips, after ``setup``.
        labelled_size: those whose labels are seen, after ``setup``.
        skipped: reason by file, for the files that could not be read, after ``setup``.
    """

    sample_rate = SAMPLE_RATE
    clip_samples = CLIP_SAMPLES
    archives = (SPEECH_COMMANDS, TEST_SET_12)

    def __init__(
        self,
        root: str | None,
        data: str,
        words: list[str] | None = None,
        unknown: bool = False,
        silence: bool = False,
        labelled_fraction: float = 1.0,
        unlabelled: bool = False,
        views: int = 1,
        augment: Augment | None = None,
        batch_size: int = 128,
        workers: int = 0,
        seed: int = 0,
        download: bool = False,
        synthetic: "SyntheticSpeechCommands | None" = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(workers, limit)
        self._root = Path(root) if root is not None else None
        self._data = Path(data)
        self._words, self._unknown, self._silence = words, unknown, silence
        self._labelled_fraction, self._unlabelled = labelled_fraction, unlabelled
        self._views, self._augment = views, augment
        self._batch_size, self._seed = batch_size, seed
        self._download, self._synthetic, self._limit = download, synthetic, limit
        self._prepared: Prepared | None = None
        self._visible = np.arange(0)
        self.classes: list[str] = []
        self.train_size = 0
        self.labelled_size = 0
        self.skipped: dict[str, str] = {}

    def prepare_data(self) -> None:
        """Find, download or write the corpus and decode it, unless that was done; one process at a time."""
        self._open()

    def setup(self, stage: str | None = None) -> None:
        """Choose the clips of every split, or for ``stage="test"`` of the test split alone.

        Raises:
            ValueError: a class has no training clip or no label, a split is empty, or a setting is not
                possible.
        """
        if self.classes:
            return
        prepared = self._open()
        classes = Classes(prepared.words, self._words, self._unknown, self._silence)
        test = Split.TEST_SET if classes.match_test_set(prepared.clips) else Split.TESTING
        self._test = self._held_out(classes, test)
        said = f"{len(classes.names)} classes, {len(self._test)} test clips"
        if stage != "test":
            train = self._limited(classes.select(prepared.clips, Split.TRAIN))
            classes.require(train, prepared.skipped)
            self._visible = labelled(train, prepared.clips, self._labelled_fraction, classes.names)
            self._train = ClipDataset(prepared, train, self._visible, self._augment)
            self._validation = self._held_out(classes, Split.VALIDATION)
            self.train_size, self.labelled_size = len(train.rows), len(self._visible)
            said += f", {len(self._validation)} to validate, {self.train_size} to train on"
            said += f", {self.labelled_size} of them with a label"
        self.skipped, self.classes = prepared.skipped, classes.names
        _log.info(said)
        if self.skipped:
            _log.warning("%d unreadable files are left out, see %s", len(self.skipped), prepared.folder)

    def cuts(self, split: Split) -> CutSet:
        """The lhotse manifest of a split, lazily opened: all words of the corpus, after ``prepare_data``."""
        return self._open().cuts(split)

    def train_dataloader(self, batches: int | None = None) -> DataLoader[KeywordBatch]:
        """The rest of the current epoch, from the batch that training has reached.

        Args:
            batches: in an epoch; None for those that all training clips fill.
        """
        clips = np.arange(self.train_size) if self._unlabelled else self._visible
        rank, world_size = self._rank()
        epoch_clips = self.train_size if batches is None else batches * self._batch_size * world_size
        stream = ClipStream(
            clips, epoch_clips, self._batch_size, self._views, self._seed, rank, world_size, self._position
        )
        return self._loader(self._train, stream)

    def views_dataloader(self, units: Sequence[Unit], batch_size: int) -> DataLoader[KeywordBatch]:
        """Training clips by their position in chosen views, all labels aside: what a teacher is to be asked."""
        return self._loader(self._train, EachView(units, batch_size))

    def use_labels(self, labels: StoredLabels) -> None:
        """Send what a teacher said of each training clip in its view with the batches."""
        self._train.labels = labels

    def view_facts(self) -> dict[str, Any]:
        """What the training views follow from, as fields of a :class:`~kd_lightning.labels.fingerprint.Fingerprint`.

        Audio, order of the clips, background noise, augmentation and number of views; where the files lie, the seed of
        the order and which labels are hidden do not matter to a teacher.
        """
        prepared = self._open()
        with FileLock(self._data / _LOCK):
            audio = prepared.digest()
        clips = prepared.clips[self._train.rows]
        digest = hashlib.blake2b(f"{audio} {prepared.noise}".encode(), digest_size=16)
        digest.update(b"\n".join(clips["id"].tolist()))
        digest.update(clips["start"].tobytes())
        return {
            "corpus": digest.hexdigest(),
            "clips": len(clips),
            "classes": self.classes,
            "augment": None if self._augment is None else self._augment.settings,
            "views": self._views,
        }

    def val_dataloader(self) -> DataLoader[KeywordBatch]:
        """The validation clips, each once over all processes."""
        return self._loader(
            self._validation, EachOnce(len(self._validation), self._batch_size, *self._rank())
        )

    def test_dataloader(self) -> DataLoader[KeywordBatch]:
        """The test clips, each once over all processes."""
        return self._loader(self._test, EachOnce(len(self._test), self._batch_size, *self._rank()))

    def _open(self) -> Prepared:
        if self._prepared is None:
            self._data.mkdir(parents=True, exist_ok=True)
            with FileLock(self._data / _LOCK):
                self._prepared = prepare(self._find(), self._data)
        return self._prepared

    def _find(self) -> Corpus:
        listless = None if self._unknown or self._silence else self._words

        def find(root: Path) -> Corpus:
            return find_corpus(root, listless)

        if self._download:
            return self._find_or_fetch(find)
        if self._root is not None:
            return find(self._root)
        if self._synthetic is not None:
            return find(self._synthetic.write(self._data))
        raise ValueError("corpus.root is null: set it to the corpus's folder, or corpus.download=true")

    def _find_or_fetch(self, find: Callable[[Path], Corpus]) -> Corpus:
        speech_commands, test_set = self.archives
        folder = self._root or self._data / "published"
        try:
            corpus = find(folder)
        except FileNotFoundError:
            corpus = find(fetch(speech_commands, folder))
        if self._unknown and self._silence and corpus.test_set is None:
            fetch(test_set, corpus.root.parent)
            corpus = find(corpus.root)
        return corpus

    def _held_out(self, classes: Classes, split: Split) -> ClipDataset:
        prepared = self._open()
        selection = self._limited(classes.select(prepared.clips, split))
        _require_clips(split.name.lower(), selection, classes.names)
        return ClipDataset(prepared, selection, np.arange(len(selection.rows)))

    def _limited(self, selection: Selection) -> Selection:
        return selection if self._limit is None else first(selection, self._limit)


def _require_clips(split: str, selection: Selection, names: list[str]) -> None:
    if len(selection.rows) == 0:
        raise ValueError(f"the {split} split of the corpus has no clips of {', '.join(names)}")
    missing = [name for label, name in enumerate(names) if not (selection.labels == label).any()]
    if missing:
        _log.warning("no %s clip of %s", split, ", ".join(missing))
