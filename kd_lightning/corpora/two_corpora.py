"""Sentences and keywords side by side: every step of training has a batch of each."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.corpora.recognition import CommonVoice, LibriTTS
from kd_lightning.corpora.speech_commands import SpeechCommands
from kd_lightning.corpora.utterance_batches import UtteranceBatch
from kd_lightning.corpora.utterances import Utterances


class Both(NamedTuple):
    """What one step of training hears.

    Attributes:
        sentences: utterances with their transcripts.
        clips: words with their labels.
    """

    sentences: UtteranceBatch
    clips: KeywordBatch

    @property
    def ids(self) -> list[str]:
        """Cut ids of the utterances, then of the clips."""
        return [*self.sentences.ids, *self.clips.ids]

    def to(self, device: torch.device, non_blocking: bool = False) -> "Both":
        """The batches on a device."""
        return Both(self.sentences.to(device, non_blocking), self.clips.to(device, non_blocking))


class SideBySide:
    """The batches of two loaders that are as long as one another, in pairs.

    Args:
        sentences: of utterances.
        clips: of words.
    """

    def __init__(self, sentences: DataLoader[UtteranceBatch], clips: DataLoader[KeywordBatch]) -> None:
        self.sentences = sentences
        self.clips = clips

    def __len__(self) -> int:
        return len(self.sentences)

    def __iter__(self) -> Iterator[Both]:
        return map(Both, self.sentences, self.clips)


class WithCommands(Utterances):
    """A corpus of sentences, with Speech Commands beside it.

    What is asked of a data module is said of the sentences, whose batches make an epoch; the clips go on and on. Both
    are drawn by the number of the step, so a run that is cut off goes on with the batches of the one that was not.

    Args:
        clips: makes the data module of the words when it is told ``unlabelled``.
        unlabelled: True to train on all utterances and clips; False for the labelled ones alone.
        arguments: of the corpus of sentences.
    """

    def __init__(
        self, *, clips: Callable[..., SpeechCommands], unlabelled: bool = False, **arguments: Any
    ) -> None:
        super().__init__(unlabelled=unlabelled, **arguments)
        self._clips = clips(unlabelled=unlabelled)

    @property
    def clips(self) -> SpeechCommands:
        """The words, which the Trainer does not know of."""
        self._clips.trainer = self.trainer
        return self._clips

    def prepare_data(self) -> None:
        super().prepare_data()
        self.clips.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        super().setup(stage)
        self.clips.setup(stage)

    def train_dataloader(self) -> SideBySide:  # type: ignore[override]
        """The rest of the current epoch, from the batches that training has reached."""
        sentences = super().train_dataloader()
        return SideBySide(sentences, self.clips.train_dataloader(len(sentences)))

    def val_dataloader(self) -> list[DataLoader[Any]]:  # type: ignore[override]
        """The validation utterances and the validation clips, each once over all processes."""
        return [super().val_dataloader(), self.clips.val_dataloader()]

    def test_dataloader(self) -> list[DataLoader[Any]]:  # type: ignore[override]
        """The test utterances and the test clips, each once over all processes."""
        return [super().test_dataloader(), self.clips.test_dataloader()]

    def view_facts(self) -> dict[str, Any]:
        """What labels would follow from.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "what a teacher says of two corpora is not stored: ask it in each step, teacher.stored=false"
        )


class CommonVoiceAndCommands(WithCommands, CommonVoice):
    """One locale of Common Voice, and Speech Commands; see :class:`WithCommands`."""


class LibriTTSAndCommands(WithCommands, LibriTTS):
    """LibriTTS, and Speech Commands; see :class:`WithCommands`."""
