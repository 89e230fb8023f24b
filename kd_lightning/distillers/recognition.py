"""Speech recognition: utterances in, text out, by CTC, by an attention decoder, or both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kd_lightning.corpora.utterance_batches import UtteranceBatch
from kd_lightning.decoding.attention import search
from kd_lightning.decoding.greedy import greedy
from kd_lightning.decoding.hypothesis import Hypothesis
from kd_lightning.distillers.distiller import Distiller
from kd_lightning.distillers.recognition_terms import (
    RecognitionStep,
    RecognitionTerm,
    Targets,
    decoder_prefix,
)
from kd_lightning.frontend.text import scoring_form
from kd_lightning.frontend.tokens import decoder_of
from kd_lightning.labels.utterance_reader import StoredUtterances
from kd_lightning.metrics.scores import error_rate_intervals
from kd_lightning.metrics.word_errors import WordErrors
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.recognition_output import RecognitionOutput
from kd_lightning.models.taps import Taps
from kd_lightning.teachers.ensemble import Features


class RecognitionDistiller(Distiller):
    """Distils a recogniser.

    Validation and test decode greedily: the best path of CTC, or a decoder's most probable next token.

    Args:
        classes: the tokens by number, "<blank>" first.
        language: of the corpus, in whose form words are scored.
        arguments: see :class:`~kd_lightning.distillers.distiller.Distiller`.
    """

    student: Recogniser
    teacher: Recogniser | None

    def __init__(self, classes: list[str], language: str = "en", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.language = language
        self.read = decoder_of(classes)
        self.validation_metrics = WordErrors(language)
        self.test_metrics = WordErrors(language)
        terms: list[RecognitionTerm] = list(arguments["terms"].values())
        self.needs_hypotheses = any(term.needs_hypotheses for term in terms)
        self.needs_second_view = any(term.needs_second_view for term in terms)
        self.student_taps = Taps(
            self.student.network, {path for term in terms for path in term.student_paths}
        )
        self.teacher_taps: Taps | None = None
        if self.teacher is not None:
            self.teacher_taps = Taps(
                self.teacher.network, {path for term in terms for path in term.teacher_paths}
            )

    def run_networks(self, batch: UtteranceBatch) -> RecognitionStep:  # type: ignore[override]
        features = Features(batch.waveform, batch.masks, batch.samples)
        targets = Targets(batch.tokens, batch.token_lengths, batch.labelled)
        hypotheses = self._hear(batch.stored, features) if self.needs_hypotheses else None
        prefix = decoder_prefix(targets, hypotheses).tokens
        teacher, teacher_taps = self._ask_teacher(batch.stored, features, prefix)
        with self.student_taps as student_taps:
            student = said(self.student, features, prefix)
        second = None
        if self.needs_second_view:
            second = said(self.student, Features(batch.waveform, batch.other_masks, batch.samples), prefix)
        return RecognitionStep(targets, student, teacher, student_taps, teacher_taps, hypotheses, second)

    @torch.no_grad()
    def _hear(self, stored: StoredUtterances | None, features: Features) -> Targets | None:
        """What the teacher decodes or has decoded, as transcripts."""
        if stored is not None:
            return None if stored.heard is None else Targets(*stored.heard)
        assert self.teacher is not None
        heard = decode(self.teacher, features)
        tokens = [torch.tensor(one.tokens, dtype=torch.long) for one in heard]
        return Targets(
            pad_sequence(tokens, batch_first=True).to(self.device),
            torch.tensor([len(one) for one in tokens], device=self.device),
            torch.tensor([one.ended for one in heard], device=self.device),
            torch.tensor([one.confidence for one in heard], device=self.device),
        )

    @torch.no_grad()
    def _ask_teacher(
        self, stored: StoredUtterances | None, features: Features, prefix: Tensor
    ) -> tuple[RecognitionOutput | None, Mapping[str, Tensor]]:
        """What the teacher says or has said, and its tapped activations."""
        if stored is not None:
            frames = stored.lengths
            return None if frames is None else RecognitionOutput(stored.logits, frames), stored.taps
        if self.teacher is None or self.teacher_taps is None:
            return None, {}
        with self.teacher_taps as taps:
            return said(self.teacher, features, prefix), taps

    def forward(self, waveform: Tensor) -> Tensor:
        """Scores of tokens (B, frames, V) of utterances (B, T) that are all as long, by CTC."""
        logits = self.student(waveform).logits
        assert logits is not None
        return logits

    def validation_step(self, batch: UtteranceBatch, batch_idx: int) -> None:
        heard = decode(self.student, Features(batch.waveform, None, batch.samples))
        self.validation_metrics.update(batch.texts, [self.read(one.tokens) for one in heard])

    def on_validation_epoch_end(self) -> None:
        values = {f"validation/{key}": value for key, value in self.validation_metrics.compute().items()}
        self.log_dict(values)
        self.log("wer", values["validation/wer"], prog_bar=True, logger=False)
        self.validation_metrics.reset()

    def on_test_start(self) -> None:
        self.predictions = []

    def test_step(self, batch: UtteranceBatch, batch_idx: int) -> None:
        heard = decode(self.student, Features(batch.waveform, None, batch.samples))
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

    def intervals(self) -> dict[str, list[float]]:
        return error_rate_intervals(self.predictions)

    def on_test_epoch_end(self) -> None:
        self.log_dict(dict(self.test_metrics.compute()))
        self.test_metrics.reset()
        self.gather_predictions()


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
