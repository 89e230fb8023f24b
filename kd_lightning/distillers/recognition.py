"""Speech recognition: utterances in, text out, by CTC, by an attention decoder, or both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from kd_lightning.corpora.utterance_batches import UtteranceBatch
from kd_lightning.decoding.attention import search
from kd_lightning.decoding.greedy import greedy
from kd_lightning.decoding.hypothesis import Hypothesis
from kd_lightning.distillers.distiller import Distiller
from kd_lightning.distillers.hypotheses import Hearing, HypothesisListener
from kd_lightning.distillers.recognition_terms import (
    RecognitionStep,
    RecognitionTerm,
    Targets,
    decoder_prefix,
    token_logits,
)
from kd_lightning.distillers.shared_tokens import compares_scores, require_shared_tokens
from kd_lightning.distillers.terms import Term
from kd_lightning.frontend.text import SCORING_VERSION, scoring_form
from kd_lightning.frontend.tokens import decoder_of
from kd_lightning.labels.utterance_reader import spelt
from kd_lightning.metrics.perplexity import TokenPerplexity
from kd_lightning.metrics.scores import error_rate_intervals
from kd_lightning.metrics.word_errors import WordErrors
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.recognition_output import RecognitionOutput
from kd_lightning.models.taps import Taps
from kd_lightning.teachers.ensemble import Features


class Lesson(NamedTuple):
    """What a teacher says of a batch.

    Attributes:
        output: its scores; ``None`` if no term compares them.
        taps: its activations by module path.
        hypotheses: its sentences in the student's tokens; ``None`` if no term learns from them.
    """

    output: RecognitionOutput | None
    taps: Mapping[str, Tensor]
    hypotheses: Targets | None


class RecognitionDistiller(Distiller):
    """Distils a recogniser.

    Validation and test decode greedily: the best path of CTC, or a decoder's most probable next token. Validation also
    says how well a decoder knows the next token of the transcripts; of a language model that is all there is to say.

    Args:
        classes: the tokens by number, "<blank>" first.
        language: of the corpus, in whose form words are scored.
        hearing: how a live teacher is understood, whose tokens may be others.
        arguments: see :class:`~kd_lightning.distillers.distiller.Distiller`.

    Raises:
        ValueError: a term compares scores of other tokens, or the teacher cannot be heard as is asked.
    """

    takes: ClassVar[tuple[type[Term], ...]] = (RecognitionTerm,)
    student: Recogniser
    teacher: Recogniser | None

    def __init__(
        self, classes: list[str], language: str = "en", hearing: Hearing | None = None, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.language = language
        self.read = decoder_of(classes)
        self.validation_metrics = WordErrors(language)
        self.test_metrics = WordErrors(language)
        self.validation_perplexity = TokenPerplexity() if self.student.writes else None
        terms = [term for term in arguments["terms"].values() if isinstance(term, RecognitionTerm)]
        self.needs_second_view = any(term.needs_second_view for term in terms)
        self.student_taps = Taps(
            self.student.network, {path for term in terms for path in term.student_paths}
        )
        if self.teacher is None:
            return
        if hearing is None:
            raise ValueError("a live teacher needs hearing=: its tokens, and how the student spells")
        require_shared_tokens(terms, classes, hearing.pieces)
        self.hearing = hearing
        self.shares_tokens = list(hearing.pieces) == classes
        self.teacher_taps = Taps(
            self.teacher.network, {path for term in terms for path in term.teacher_paths}
        )
        self.asks_output = any(compares_scores(term) or term.teacher_paths for term in terms)
        self.listener: HypothesisListener | None = None
        if any(term.needs_hypotheses for term in terms):
            self.listener = HypothesisListener(self.teacher, hearing.pieces, language, **hearing.decoding)

    def run_networks(self, batch: UtteranceBatch) -> RecognitionStep:  # type: ignore[override]
        features = Features(batch.waveform, batch.masks, batch.samples)
        targets = Targets(batch.tokens, batch.token_lengths, batch.labelled)
        lesson = self._lesson(batch, features, targets)
        prefix = decoder_prefix(targets, lesson.hypotheses).tokens
        with self.student_taps as student_taps:
            student = said(self.student, features, prefix)
        second = None
        if self.needs_second_view:
            second = said(self.student, Features(batch.waveform, batch.other_masks, batch.samples), prefix)
        return RecognitionStep(
            targets, student, lesson.output, student_taps, lesson.taps, lesson.hypotheses, second
        )

    def _lesson(self, batch: UtteranceBatch, features: Features, targets: Targets) -> Lesson:
        """What the teacher says of a batch, or has said."""
        if batch.stored is not None:
            frames, heard = batch.stored.lengths, batch.stored.heard
            return Lesson(
                None if frames is None else RecognitionOutput(batch.stored.logits, frames),
                batch.stored.taps,
                None if heard is None else Targets(*heard),
            )
        if self.teacher is None:
            return Lesson(None, {}, None)
        return self._ask(self.teacher, batch, features, targets)

    @torch.no_grad()
    def _ask(
        self, teacher: Recogniser, batch: UtteranceBatch, features: Features, targets: Targets
    ) -> Lesson:
        """What a live teacher says: of CTC its sentences are read, of a decoder they are searched for first."""
        computed, frames = features(teacher.frontend), features.frames(teacher.frontend)
        if not teacher.writes:
            with self.teacher_taps as taps:
                output = teacher.recognise(computed, frames)
            return Lesson(output, taps, self._hear(batch, computed, frames, output))
        hypotheses = self._hear(batch, computed, frames, None)
        if not self.asks_output:
            return Lesson(None, {}, hypotheses)
        # A decoder continues only what is written in its own tokens.
        prefix = decoder_prefix(targets, hypotheses).tokens if self.shares_tokens else None
        with self.teacher_taps as taps:
            output = teacher.recognise(computed, frames, prefix)
        return Lesson(output, taps, hypotheses)

    def _hear(
        self, batch: UtteranceBatch, computed: Tensor, frames: Tensor, output: RecognitionOutput | None
    ) -> Targets | None:
        """The sentences that a live teacher hears, as transcripts; ``None`` if no term learns from them."""
        if self.listener is None:
            return None
        # Word errors cost time, and only this filter looks at them.
        seen = batch.labelled if self.hearing.max_wer is not None else torch.zeros_like(batch.labelled)
        transcripts = [text if one else None for text, one in zip(batch.texts, seen.tolist(), strict=True)]
        heard = self.listener(computed, frames, output, transcripts)
        trusted = [one.is_trusted(self.hearing.max_wer) for one in heard]
        tokens = spelt(heard, trusted, self.hearing.spell)
        return Targets(*(tensor.to(self.device) for tensor in tokens))

    def forward(self, waveform: Tensor) -> Tensor:
        """Scores of tokens (B, frames, V) of utterances (B, T) that are all as long, by CTC."""
        logits = self.student(waveform).logits
        assert logits is not None
        return logits

    def validation_step(self, batch: UtteranceBatch, batch_idx: int) -> None:
        features = Features(batch.waveform, None, batch.samples)
        heard = self._recognise(features)
        self.validation_metrics.update(batch.texts, [self.read(one.tokens) for one in heard])
        if self.validation_perplexity is not None:
            scores = token_logits(said(self.student, features, batch.tokens), "student")
            self.validation_perplexity.update(scores, batch.tokens, batch.token_lengths)

    def _recognise(self, features: Features) -> list[Hypothesis]:
        """What the student hears in each utterance: a language model, nothing."""
        if getattr(self.student.network, "hears", True):
            return decode(self.student, features)
        return [Hypothesis([], 0.0, 0.0, ended=False)] * len(features.waveform)

    def on_validation_epoch_end(self) -> None:
        values = {f"validation/{key}": value for key, value in self.validation_metrics.compute().items()}
        if self.validation_perplexity is not None:
            values["validation/perplexity"] = self.validation_perplexity.compute()
            self.validation_perplexity.reset()
        self.log_dict(values)
        self.log("wer", values["validation/wer"], prog_bar=True, logger=False)
        self.validation_metrics.reset()

    def on_test_start(self) -> None:
        self.predictions = []

    def test_step(self, batch: UtteranceBatch, batch_idx: int) -> None:
        heard = self._recognise(Features(batch.waveform, None, batch.samples))
        outputs = [self.read(one.tokens) for one in heard]
        self.test_metrics.update(batch.texts, outputs)
        seconds = (batch.samples / self.student.frontend.sample_rate).tolist()
        columns = (batch.ids, batch.texts, outputs, heard, batch.speakers, batch.snr.tolist(), seconds)
        for cut, text, output, hypothesis, speaker, snr, length in zip(*columns, strict=True):
            self.predictions.append(
                {
                    "cut": cut,
                    "reference": scoring_form(text, self.language),
                    "output": scoring_form(output, self.language),
                    "score": hypothesis.confidence,
                    "speaker": speaker,
                    "snr": None if math.isnan(snr) else snr,
                    "seconds": length,
                }
            )

    def scoring(self) -> dict[str, Any]:
        return {"scoring_version": SCORING_VERSION}

    def intervals(self) -> dict[str, list[float]]:
        return error_rate_intervals(self.predictions)

    def on_test_epoch_end(self) -> None:
        self.log_dict(dict(self.test_metrics.compute()))
        self.test_metrics.reset()
        self.predictions = self.gathered(self.predictions)


def said(model: Recogniser, features: Features, prefix: Tensor) -> RecognitionOutput:
    """What a recogniser says of a batch; a decoder, after each token of ``prefix`` (B, U)."""
    given = prefix if model.writes else None
    return model.recognise(features(model.frontend), features.frames(model.frontend), given)


def decode(model: Recogniser, features: Features) -> list[Hypothesis]:
    """The sentence that a recogniser hears in each utterance: its decoder's where it has one, else that of CTC."""
    computed, frames = features(model.frontend), features.frames(model.frontend)
    if model.writes:
        network: Any = model.network
        return [ranked[0] for ranked in search(network, computed, frames)]
    output = model.recognise(computed, frames)
    assert output.logits is not None
    return greedy(output.logits, output.lengths)
