"""LibriTTS as data modules of synthesis: sentences for acoustic networks, segments for vocoders."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader

from kd_lightning.corpora import libritts
from kd_lightning.corpora.batches import ClipStream
from kd_lightning.corpora.buckets import EachView, Integers
from kd_lightning.corpora.decoding import require_clean
from kd_lightning.corpora.libritts_corpus import LibriTTSCorpus
from kd_lightning.corpora.pitch_tracks import PitchTracks, pitch_tracks
from kd_lightning.corpora.prepared_utterances import PreparedUtterances
from kd_lightning.corpora.segment_batches import SegmentBatch, SegmentDataset
from kd_lightning.corpora.selection import hash_order
from kd_lightning.corpora.spelling import Spelling
from kd_lightning.corpora.spelt_sentences import SpeltSentences, spell_sentences
from kd_lightning.corpora.spoken_batches import SpokenBatch, SpokenDataset
from kd_lightning.corpora.unrecorded import PitchWithText, with_text
from kd_lightning.corpora.utterance_files import Split, UtteranceFile
from kd_lightning.corpora.utterance_rows import UtteranceRows, texts_of
from kd_lightning.frontend.tokens import Tokens
from kd_lightning.labels.format import Unit

# Raise it when equal settings prepare other audio.
_RECIPE = 1


class VoiceCorpus(LibriTTSCorpus):
    """LibriTTS to learn speaking from, by the same people in all splits, which the published parts do not offer.

    Clipped and silent recordings are left out.

    Args:
        speakers: names of the speakers that are used; ``None`` for all.
        held_out: how many sentences of the training parts are kept for "validation" and for "test", where ``parts``
            names none: always the same, by a hash of their ids, and of a smaller number all are among those of a
            larger one.
        arguments: see :class:`~kd_lightning.corpora.libritts_corpus.LibriTTSCorpus`.

    Attributes:
        speakers: their names by number, those of the training sentences, after ``setup``.
    """

    hidden: ClassVar[str] = "recording"
    require: ClassVar[Callable[[npt.NDArray[np.float32]], None] | None] = staticmethod(require_clean)

    def __init__(
        self,
        *,
        speakers: Sequence[str | int] | None = None,
        held_out: Mapping[str, int] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._chosen = None if speakers is None else sorted({str(speaker) for speaker in speakers})
        asked = {Split[key.upper()]: count for key, count in (held_out or {}).items()}
        self._held = {
            split: asked.get(split, 0) for split in (Split.VALIDATION, Split.TEST) if not self._parts[split]
        }
        for split, count in self._held.items():
            if count < 1:
                key = split.name.lower()
                raise ValueError(f"corpus.parts.{key} is empty: name a part, or set corpus.held_out.{key}")
        self.speakers: list[str] = []

    def find(self) -> Path:
        folder = super().find()
        parts = [folder / part for part in self._parts[Split.TRAIN]]
        there = {path.name for part in parts for path in part.iterdir() if path.is_dir()}
        if absent := sorted(set(self._chosen or ()) - there):
            raise ValueError(
                f"corpus.speakers names {', '.join(absent)}, who are not in "
                f"{', '.join(self._parts[Split.TRAIN])} of {folder}"
            )
        return folder

    def fingerprint(self, folder: Path) -> str:
        parts = {split.name: list(self._parts[split]) for split in Split}
        held_out = {split.name: count for split, count in self._held.items()}
        settings = json.dumps([_RECIPE, self._chosen, parts, held_out])
        digest = hashlib.blake2b(f"{super().fingerprint(folder)}{settings}".encode(), digest_size=10)
        return f"{digest.hexdigest()}_{self.sample_rate}"

    def files(self, folder: Path, skipped: dict[str, str]) -> Mapping[Split, Iterable[UtteranceFile]]:
        found = libritts.LibriTTSFolder(folder, self._parts)
        splits: dict[Split, Iterable[UtteranceFile]] = {
            split: libritts.utterances(found, split, skipped, self._chosen) for split in Split
        }
        return splits | self._drawn_from(list(splits[Split.TRAIN])) if self._held else splits

    def _drawn_from(self, files: Sequence[UtteranceFile]) -> dict[Split, list[UtteranceFile]]:
        """The training sentences, some of them held out."""
        if sum(self._held.values()) >= len(files):
            raise ValueError(
                f"corpus.held_out leaves none of {len(files)} sentences to train on: hold out fewer, or name more parts"
            )
        order = hash_order(np.array([file.id.encode() for file in files])).tolist()
        # From both ends, so that another number of the one split does not change the other.
        test, validation = self._held.get(Split.TEST, 0), self._held.get(Split.VALIDATION, 0)
        chosen = {Split.TEST: order[:test], Split.VALIDATION: order[len(order) - validation :]}
        held = {place for places in chosen.values() for place in places}
        kept = [file for place, file in enumerate(files) if place not in held]
        drawn = {split: [files[place] for place in sorted(chosen[split])] for split in self._held}
        return {Split.TRAIN: kept, **drawn}

    def _understand(self, prepared: PreparedUtterances) -> str:
        trained = prepared.records["speaker"][prepared.records["split"] == Split.TRAIN]
        self.speakers = texts_of(np.unique(trained))
        return f"{len(self.speakers)} speakers, "


class SpokenSentences(VoiceCorpus):
    """Sentences and how they were spoken; what acoustic networks learn from.

    All text is always there. What the labelled fraction leaves out is hidden: the recordings and the durations.

    Args:
        spelling: "phonemes" of espeak-ng or "characters", both with the marks a voice pauses at; of no matter where
            :meth:`spell_with` is told.
        voice: espeak's name of the language or accent of the phonemes.
        pitch: whether the fundamental frequency of every recording is found, which feed-forward networks learn.
        views: how often a teacher reads each sentence before its readings repeat. Text has no augmentation.
        text: a file with a sentence a line that nobody recorded: further training sentences, each as one whose
            recording is hidden. An epoch is as much longer, also where there is no teacher to say them.
        text_speaker: who says them; ``None`` for all speakers in turn.
        arguments: see :class:`VoiceCorpus` and :class:`~kd_lightning.corpora.decoded_corpus.DecodedCorpus`.

    Attributes:
        classes: the tokens by number, "<blank>" first, after ``setup``.
        tokens: what spells with them, after ``setup``.
        has_durations: whether it is known how long each token lasts, after ``setup``.
        tokens_model: the file that it takes to spell: ``None``, names are enough.
        unrecorded_size: the last so many training sentences are those that nobody recorded, after ``setup``.
    """

    tokens_model: ClassVar[None] = None
    _train: SpokenDataset

    def __init__(
        self,
        *,
        spelling: str = "phonemes",
        voice: str = "en-us",
        pitch: bool = False,
        views: int = 1,
        text: str | None = None,
        text_speaker: str | int | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._text = None if text is None else Path(text)
        self._text_speaker = text_speaker
        self._spelling, self._voice, self._views = spelling, voice, views
        self._asks_pitch = pitch
        self._brought: Tokens | None = None
        self._numbered: list[str] | None = None
        self.unrecorded_size = 0
        self.has_durations = False

    def spell_with(self, spelling: Spelling) -> None:
        """Spell with the tokens of a network, in place of tokens of the corpus's own; before ``prepare_data``."""
        self._brought = spelling.tokens

    def number_speakers(self, names: Sequence[str]) -> None:
        """Number the speakers as a network does, in place of an order of the corpus's own; before ``setup``."""
        self._numbered = list(names)

    def prepare_data(self) -> None:
        """Find or write the corpus, decode it and spell it, unless that was done; one process at a time."""
        self._spell(self._open())
        self._heights(self._open())

    def dataset(
        self, prepared: PreparedUtterances, rows: Integers, visible: npt.NDArray[np.bool_], split: Split
    ) -> SpokenDataset:
        strangers = sorted(set(texts_of(np.unique(prepared.records["speaker"][rows]))) - set(self.speakers))
        if strangers:
            raise ValueError(
                f"the {split.name.lower()} split has speakers that no network can have learnt: "
                f"{', '.join(strangers[:5])}; take sentences of {', '.join(self.speakers[:5])}: corpus.held_out for "
                f"sentences of the training parts, corpus.speakers to choose among speakers"
            )
        return SpokenDataset(prepared, rows, visible, self._spelt, self.speakers, self._heights(prepared))

    def train_dataloader(self) -> DataLoader[SpokenBatch]:
        """The rest of the current epoch, from the batch that training has reached."""
        return self._bucketed(self._views, self._train.view_seconds)

    def spell(self, text: str) -> list[int]:
        """Tokens of a text as the corpus writes it, after ``setup``.

        Raises:
            ValueError: the text has nothing to say, or characters that the tokens cannot say.
        """
        return self.tokens.encode(text)

    def view_facts(self) -> dict[str, Any]:
        """What the training views follow from, as fields of a :class:`~kd_lightning.labels.fingerprint.Fingerprint`."""
        rows = self._train.rows
        spelt = (self._spelt[row].tokens.tobytes() for row in rows.tolist())
        facts = ["\n".join(self.speakers).encode(), *spelt]
        if self._text is not None:  # a recording's speaker goes with its id
            facts.append(self._train.prepared.records["speaker"][rows].tobytes())
        return self._facts(self._views, None, *facts)

    def _understand(self, prepared: PreparedUtterances) -> str:
        said = super()._understand(prepared)
        if self._numbered is not None:
            self.speakers = self._numbered
        self.tokens, self._spelt = self._spell(prepared)
        self.classes = self.tokens.pieces
        self.has_durations = self._spelt.has_durations
        self.skipped |= self._spelt.skipped
        return f"{said}{self.tokens.size} tokens, "

    def _usable(self, prepared: PreparedUtterances) -> npt.NDArray[np.bool_]:
        return self._spelt.usable

    def _training(self, prepared: PreparedUtterances) -> UtteranceRows[Any]:
        recorded = super()._training(prepared)
        return recorded if self._text is None else self._behind(recorded, self._text)

    def _behind(self, recorded: UtteranceRows[Any], text: Path) -> SpokenDataset:
        """The training sentences, and behind them those that nobody recorded."""
        speakers = self.speakers if self._text_speaker is None else [str(self._text_speaker)]
        if strangers := set(speakers) - set(self.speakers):
            raise ValueError(
                f"corpus.text_speaker={strangers.pop()}: nobody is called so; there are "
                f"{', '.join(self.speakers[:20])}"
            )
        prepared = recorded.prepared
        pitch = self._heights(prepared)
        with self._locked():
            together, self._spelt = with_text(text, prepared, self._spelt, self.tokens, speakers)
        self.skipped |= {f"{text}, {line}": reason for line, reason in self._spelt.skipped.items()}
        rows = np.arange(len(prepared.records), len(together.records))[: self._limit]
        rows = rows[self._lasting(together.records["samples"][rows] / together.sample_rate)]
        self._visible = np.append(self._visible, np.zeros(len(rows), bool))
        self.unrecorded_size = len(rows)
        self.train_size += len(rows)
        return SpokenDataset(
            together,
            np.append(recorded.rows, rows),
            self._visible,
            self._spelt,
            self.speakers,
            None if pitch is None else PitchWithText(pitch.folder),
        )

    def _heights(self, prepared: PreparedUtterances) -> PitchTracks | None:
        if not self._asks_pitch:
            return None
        with self._locked():
            return pitch_tracks(prepared)

    def _spell(self, prepared: PreparedUtterances) -> tuple[Tokens, SpeltSentences]:
        with self._locked():
            return spell_sentences(prepared, self._spelling, self.language, self._voice, self._brought)


class Segments(VoiceCorpus):
    """Segments of recordings, drawn anew in every view, and whole recordings to validate and test; for vocoders.

    Args:
        hop_length: of the mel, in samples.
        segment_seconds: length of a segment, rounded to whole hops.
        batch_size: segments in a batch of one process.
        views: number of different segments of a recording.
        arguments: see :class:`VoiceCorpus` and :class:`~kd_lightning.corpora.decoded_corpus.DecodedCorpus`; recordings
            that are validated and tested come in batches of as many seconds as segments do.
    """

    _train: SegmentDataset

    def __init__(
        self,
        *,
        hop_length: int = 256,
        segment_seconds: float = 0.5,
        batch_size: int = 16,
        views: int = 64,
        **arguments: Any,
    ) -> None:
        super().__init__(batch_seconds=batch_size * segment_seconds, **arguments)
        hops = round(segment_seconds * self.sample_rate / hop_length)
        if hops < 1:
            raise ValueError(
                f"corpus.segment_seconds={segment_seconds} is shorter than a hop of {hop_length} samples"
            )
        self._hop_length, self._segment = hop_length, hops * hop_length
        self._batch_size, self._views = batch_size, views

    def dataset(
        self, prepared: PreparedUtterances, rows: Integers, visible: npt.NDArray[np.bool_], split: Split
    ) -> SegmentDataset:
        segment = self._segment if split is Split.TRAIN else None
        return SegmentDataset(prepared, rows, visible, self._hop_length, segment, self._seed)

    def train_dataloader(self) -> DataLoader[SegmentBatch]:
        """The rest of the current epoch, from the batch that training has reached.

        An epoch has a segment of as many recordings as there are to train on, whichever are drawn from.
        """
        stream = ClipStream(
            self._drawn(),
            self.train_size,
            self._batch_size,
            self._views,
            self._seed,
            *self._rank(),
            self._position,
        )
        return self._loader(self._train, stream)

    def views_dataloader(self, units: Sequence[Unit], batch_seconds: float) -> DataLoader[SegmentBatch]:
        seconds = np.full(len(self._train), self._segment / self.sample_rate, np.float32)
        return self._loader(self._train, EachView(units, seconds, batch_seconds))

    def view_facts(self) -> dict[str, Any]:
        """What the training views follow from, as fields of a :class:`~kd_lightning.labels.fingerprint.Fingerprint`."""
        drawn = {"seed": self._seed, "segment": self._segment, "hop_length": self._hop_length}
        return self._facts(self._views, drawn)
