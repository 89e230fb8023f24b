"""What a teacher hears in utterances, as text with a confidence: labels for students of any tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from kd_lightning.decoding.attention import search
from kd_lightning.decoding.beam import PrefixBeam
from kd_lightning.decoding.greedy import greedy
from kd_lightning.decoding.hypothesis import Hypothesis
from kd_lightning.frontend.text import scoring_form
from kd_lightning.frontend.tokens import decoder_of
from kd_lightning.labels.hypotheses import Sentence
from kd_lightning.metrics.word_errors import word_edits
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.recognition_output import RecognitionOutput


class Hearing(NamedTuple):
    """How the sentences of a live teacher become transcripts: through text, as those that are stored.

    Attributes:
        pieces: names of the teacher's tokens.
        spell: text -> the student's tokens.
        decoding: settings of :class:`HypothesisListener`.
        max_wer: sentences with a higher word error rate are not learnt, where the transcript may be seen; ``None``
            trusts all.
    """

    pieces: Sequence[str]
    spell: Callable[[str], list[int]]
    decoding: Mapping[str, Any]
    max_wer: float | None = None


class HypothesisListener:
    """Decodes what a teacher says, and counts the word errors where the transcript may be seen.

    Args:
        teacher: its decoder is searched where it has one, else its CTC layer.
        pieces: names of its tokens.
        language: of the transcripts.
        beam: hypotheses kept while it is searched; 1 is greedy.
        language_model: an n-gram over the same tokens, for CTC; see :class:`~kd_lightning.decoding.beam.PrefixBeam`.
        weight: of the language model.

    Raises:
        ValueError: a setting that is not possible.
        FileNotFoundError: there is no such language model.
    """

    def __init__(
        self,
        teacher: Recogniser,
        pieces: Sequence[str],
        language: str,
        beam: int = 1,
        language_model: str | Path | None = None,
        weight: float = 0.5,
    ) -> None:
        if beam < 1:
            raise ValueError(f"labels.decoding.beam={beam}: 1 is greedy, more are a beam")
        self.teacher = teacher
        self.language = language
        self.beam = beam
        self._read = decoder_of(pieces)
        if teacher.writes and language_model is not None:
            raise ValueError(
                "labels.decoding.language_model is for CTC, and this teacher writes with a decoder: set it to null"
            )
        self._prefix_beam: PrefixBeam | None = None
        if not teacher.writes and (beam > 1 or language_model is not None):
            self._prefix_beam = PrefixBeam(pieces, beam, language_model=language_model, weight=weight)

    def __call__(
        self,
        features: Tensor,
        frames: Tensor,
        output: RecognitionOutput | None,
        transcripts: Sequence[str | None],
    ) -> list[Sentence]:
        """Hear a batch.

        Args:
            features: (B, bins, frames) of the teacher's frontend.
            frames: (B,) int64, valid ones.
            output: what the teacher says of them; not needed of a decoder.
            transcripts: of each utterance, ``None`` where it may not be seen.
        """
        heard = self._decode(features, frames, output)
        texts = [self._read(one.tokens) for one in heard]
        return [
            Sentence(text, one.confidence, one.ended, self._word_error_rate(transcript, text))
            for text, one, transcript in zip(texts, heard, transcripts, strict=True)
        ]

    def _decode(self, features: Tensor, frames: Tensor, output: RecognitionOutput | None) -> list[Hypothesis]:
        if self.teacher.writes:
            network: Any = self.teacher.network
            return [ranked[0] for ranked in search(network, features, frames, self.beam)]
        assert output is not None
        assert output.logits is not None
        if self._prefix_beam is not None:
            return [ranked[0] for ranked in self._prefix_beam(output.logits, output.lengths)]
        return greedy(output.logits, output.lengths)

    def _word_error_rate(self, transcript: str | None, text: str) -> float | None:
        if transcript is None:
            return None
        forms = [scoring_form(written, self.language) for written in (transcript, text)]
        return word_edits(forms[:1], forms[1:])[0].rate
