"""Read what a teacher said of sentences from a store."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence

from kd_lightning.frontend.mel import SILENCE
from kd_lightning.labels.fingerprint import Fingerprint
from kd_lightning.labels.ragged import padded
from kd_lightning.labels.reader import Store, open_store
from kd_lightning.labels.sentence_labeller import DURATIONS, ENDED, FOCUS, MEL
from kd_lightning.labels.speech import TaughtSpeech
from kd_lightning.models.acoustic_output import Recorded


class SpeechLabels(Store):
    """A finished store of what a teacher said of sentences; see :class:`~kd_lightning.labels.reader.Store`."""

    def read(self, sentences: Sequence[int], views: Sequence[int]) -> TaughtSpeech:
        """What the teacher said of each sentence.

        Args:
            sentences: (B,) positions in the training selection.
            views: (B,) number of the view of each.

        Raises:
            ValueError: a shard is damaged; names the file.
        """
        rows = self.rows(sentences, views)
        mels = [torch.from_numpy(mel).float() for mel in rows[MEL]]
        durations = None
        if DURATIONS in rows:
            durations = padded([torch.from_numpy(row).long() for row in rows[DURATIONS]])
        recorded = Recorded(
            pad_sequence(mels, batch_first=True, padding_value=SILENCE).transpose(1, 2).contiguous(),
            torch.tensor([len(mel) for mel in mels]),
            durations,
        )
        return TaughtSpeech(recorded, torch.as_tensor(rows[FOCUS]), torch.as_tensor(rows[ENDED]).bool())


def open_speech_labels(folder: Path, expected: Fingerprint) -> SpeechLabels:
    """Open a finished store of what a teacher said of sentences.

    Raises:
        FileNotFoundError, ValueError: see :func:`~kd_lightning.labels.reader.open_store`.
    """
    return open_store(folder, expected, SpeechLabels)
