"""Two tasks and one encoder: sentences by CTC and keywords by a classifier; one teacher may serve both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.corpora.two_corpora import Both
from kd_lightning.corpora.utterance_batches import UtteranceBatch
from kd_lightning.distillers.keyword import keyword_lines
from kd_lightning.distillers.recognition import RecognitionDistiller
from kd_lightning.distillers.recognition_terms import RecognitionStep, RecognitionTerm
from kd_lightning.distillers.terms import Step, Supervised, Term, Transfer
from kd_lightning.metrics.classification import keyword_metrics
from kd_lightning.metrics.scores import accuracy_interval
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.taps import Taps
from kd_lightning.models.waveform_model import KeywordOutput
from kd_lightning.teachers.ensemble import Features


class TwoSteps(NamedTuple):
    """What one training step offers to the terms of each task."""

    sentences: RecognitionStep
    clips: Step


class TwoTasksDistiller(RecognitionDistiller):
    """Distils a recogniser that spots keywords too.

    Terms of recognition read the sentences, all others the clips, so any recipes of the two tasks go together.
    Validation also gives ``error``, the mean of the word error rate and the share of clips that are mistaken. The
    predictions are those of the sentences.

    Args:
        arguments: see :class:`~kd_lightning.distillers.recognition.RecognitionDistiller`; the networks are
            :class:`~kd_lightning.models.shared_encoder.SharedEncoder`.

    Raises:
        ValueError: a network does not classify clips, or the teacher knows other keywords.
    """

    takes = (RecognitionTerm, Supervised, Transfer)

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.keywords = _keywords(self.student, "student")
        self.keyword_validation = keyword_metrics(len(self.keywords))
        self.keyword_test = self.keyword_validation.clone()
        self.keyword_predictions: list[dict[str, Any]] = []
        terms = [term for term in arguments["terms"].values() if not isinstance(term, RecognitionTerm)]
        self.clip_taps = Taps(self.student.network, {path for term in terms for path in term.student_paths})
        if self.teacher is None:
            return
        if (known := _keywords(self.teacher, "teacher")) != self.keywords:
            raise ValueError(f"the teacher knows the keywords {known} and the student {self.keywords}")
        self.teacher_clip_taps = Taps(
            self.teacher.network, {path for term in terms for path in term.teacher_paths}
        )

    def part(self, step: TwoSteps, term: Term) -> RecognitionStep | Step:
        return step.sentences if isinstance(term, RecognitionTerm) else step.clips

    def run_networks(self, batch: Both) -> TwoSteps:  # type: ignore[override]
        return TwoSteps(super().run_networks(batch.sentences), self._spot_keywords(batch.clips))

    def _spot_keywords(self, batch: KeywordBatch) -> Step:
        """What student and teacher say of clips."""
        features = _features(batch, masked=True)
        with self.clip_taps as student_taps:
            student = spotted(self.student, features)
        teacher, teacher_taps = self._ask_of_clips(features)
        return Step(batch.labels, student, teacher, student_taps, teacher_taps)

    @torch.no_grad()
    def _ask_of_clips(self, features: Features) -> tuple[KeywordOutput | None, Mapping[str, Tensor]]:
        if self.teacher is None:
            return None, {}
        with self.teacher_clip_taps as taps:
            return spotted(self.teacher, features), taps

    def validation_step(
        self, batch: UtteranceBatch | KeywordBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if isinstance(batch, UtteranceBatch):
            super().validation_step(batch, batch_idx)
        else:
            self.keyword_validation.update(self._probabilities(batch), batch.labels)

    def on_validation_epoch_end(self) -> None:
        wer = self.validation_metrics.compute()["wer"]
        values = self.keyword_validation.compute()
        super().on_validation_epoch_end()
        self.log_dict({f"validation/{key}": value for key, value in values.items()})
        self.log("validation/error", (wer + 1 - values["accuracy"]) / 2)
        self.log("accuracy", values["accuracy"], prog_bar=True, logger=False)
        self.keyword_validation.reset()

    def on_test_start(self) -> None:
        super().on_test_start()
        self.keyword_predictions = []

    def test_step(
        self, batch: UtteranceBatch | KeywordBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if isinstance(batch, UtteranceBatch):
            super().test_step(batch, batch_idx)
            return
        probabilities = self._probabilities(batch)
        self.keyword_test.update(probabilities, batch.labels)
        self.keyword_predictions += keyword_lines(batch, probabilities, self.keywords)

    def _probabilities(self, batch: KeywordBatch) -> Tensor:
        """(B, C) of clips as they are."""
        return spotted(self.student, _features(batch, masked=False)).logits.float().softmax(dim=1)

    def intervals(self) -> dict[str, list[float]]:
        return super().intervals() | {"accuracy": accuracy_interval(self.keyword_predictions)}

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self.log_dict(dict(self.keyword_test.compute()))
        self.keyword_test.reset()
        self.keyword_predictions = self.gathered(self.keyword_predictions)


def spotted(model: Recogniser, features: Features) -> KeywordOutput:
    """What a recogniser with a shared encoder says of clips."""
    network: Any = model.network
    output: KeywordOutput = network.classify(features(model.frontend), features.frames(model.frontend))
    return output


def _features(batch: KeywordBatch, masked: bool) -> Features:
    """Of clips as of utterances that are all as long."""
    samples = torch.full_like(batch.labels, batch.waveform.shape[1])
    return Features(batch.waveform, batch.masks if masked else None, samples)


def _keywords(model: Recogniser, role: str) -> list[str]:
    network: Any = model.network
    if not hasattr(network, "classify"):
        raise ValueError(
            f"the {role} does not classify clips: choose {role}=two_tasks_small or another shared encoder"
        )
    keywords: list[str] = network.keywords
    return keywords
