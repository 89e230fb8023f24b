"""What the corpora of recognition share: batched by length, transcripts partly hidden."""

from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader

from kd_lightning.corpora.augment import Augment
from kd_lightning.corpora.buckets import Integers
from kd_lightning.corpora.decoded_corpus import DecodedCorpus
from kd_lightning.corpora.prepared_utterances import PreparedUtterances
from kd_lightning.corpora.spelling import Spelling, spelling_of
from kd_lightning.corpora.utterance_batches import UtteranceBatch, UtteranceDataset
from kd_lightning.corpora.utterance_files import Split
from kd_lightning.frontend.text import normalise


class Utterances(DecodedCorpus):
    """Utterances at 16 kHz and their transcripts.

    Tokens are learnt from all training transcripts, also those that students do not see: teacher and student have to
    spell alike.

    Args:
        root: the published folder or a folder up to three levels above it; None for ``synthetic``.
        data: folder for everything that is written.
        language: of the corpus, as in BCP 47: "en", "tr".
        spelling: "characters", or pieces of words: "unigram", "bpe"; of no matter where :meth:`spell_with` is told.
        pieces: number of tokens for pieces of words, the blank included.
        views: number of different augmentations of an utterance.
        augment: makes them; None to train on the utterances as they are.
        arguments: see :class:`~kd_lightning.corpora.decoded_corpus.DecodedCorpus`; the labelled fraction is the share
            of the training utterances whose transcripts are seen.

    Attributes:
        classes: the tokens by number, "<blank>" first, after ``setup``.
        tokens: what spells with them, after ``setup``.
        tokens_model: the file that it takes to spell, after ``setup``; ``None`` where their names are enough.
    """

    hidden: ClassVar[str] = "transcript"
    _train: UtteranceDataset

    def __init__(
        self,
        root: str | None,
        data: str,
        language: str = "en",
        spelling: str = "characters",
        pieces: int = 256,
        views: int = 1,
        augment: Augment | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(root, data, language, **arguments)
        self._spelling, self._pieces = spelling, pieces
        self._views, self._augment = views, augment
        self._brought: Spelling | None = None

    def spell_with(self, spelling: Spelling) -> None:
        """Spell with the tokens of a network, in place of tokens of the corpus's own; before ``prepare_data``."""
        self._brought = spelling

    def prepare_data(self) -> None:
        """Find or write the corpus, decode it and learn the tokens, unless that was done; one process at a time."""
        self._spell(self._open())

    def dataset(
        self, prepared: PreparedUtterances, rows: Integers, visible: npt.NDArray[np.bool_], split: Split
    ) -> UtteranceDataset:
        augment = self._augment if split is Split.TRAIN else None
        return UtteranceDataset(prepared, rows, visible, self.tokens, self.language, augment)

    def train_dataloader(self) -> DataLoader[UtteranceBatch]:
        """The rest of the current epoch, from the batch that training has reached."""
        return self._bucketed(self._views, self._train.view_seconds)

    def spell(self, text: str) -> list[int]:
        """Tokens of a text as the corpus writes it, after ``setup``."""
        return self._train.spell(text)

    def view_facts(self) -> dict[str, Any]:
        """What the training views follow from, as fields of a :class:`~kd_lightning.labels.fingerprint.Fingerprint`."""
        return self._facts(self._views, None if self._augment is None else self._augment.settings)

    def _understand(self, prepared: PreparedUtterances) -> str:
        self.tokens, self.tokens_model = self._spell(prepared)
        self.classes = self.tokens.pieces
        return f"{self.tokens.size} tokens, "

    def _spell(self, prepared: PreparedUtterances) -> Spelling:
        """What the training transcripts are spelt with."""
        texts = partial(self._transcripts, prepared)
        with self._locked():
            return spelling_of(
                texts, prepared.folder, self.language, self._spelling, self._pieces, self._brought
            )

    def _transcripts(self, prepared: PreparedUtterances) -> Iterator[str]:
        for record in prepared.records:
            if record["split"] == Split.TRAIN:
                yield normalise(prepared.text(record), self.language)
