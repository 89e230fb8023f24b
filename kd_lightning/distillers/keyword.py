"""Keyword spotting: a waveform of one second in, one of the classes out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.distillers.distiller import Distiller
from kd_lightning.distillers.quantisation import FakeInt8
from kd_lightning.distillers.terms import Step, Supervised, Term, Transfer
from kd_lightning.labels.format import Stored
from kd_lightning.metrics.classification import keyword_metrics
from kd_lightning.metrics.scores import accuracy_interval
from kd_lightning.models.taps import Taps
from kd_lightning.models.waveform_model import KeywordOutput, WaveformModel
from kd_lightning.teachers.ensemble import Ensemble, Features


class KeywordDistiller(Distiller):
    """Distils a keyword spotter.

    Args:
        classes: names of the classes, in the order of the logits.
        quantisation: rounds the student as its int8 export will, in training and validation; the test is in float, as
            the weights are, and the export scores itself. ``None``: float throughout.
        arguments: see :class:`~kd_lightning.distillers.distiller.Distiller`.
    """

    takes = (Supervised, Transfer)

    def __init__(self, classes: list[str], quantisation: FakeInt8 | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.classes = classes
        self.quantisation = quantisation
        if quantisation is not None:
            quantisation.size(self.student)
        self.validation_metrics = keyword_metrics(len(classes))
        self.test_metrics = self.validation_metrics.clone()
        terms: list[Term] = list(arguments["terms"].values())
        self.student_taps = Taps(
            self.student.network, {path for term in terms for path in term.student_paths}
        )
        self.teacher_taps: Taps | None = None
        if isinstance(self.teacher, WaveformModel):
            self.teacher_taps = Taps(
                self.teacher.network, {path for term in terms for path in term.teacher_paths}
            )

    def run_networks(self, batch: KeywordBatch) -> Step:
        features = Features(batch.waveform, batch.masks)
        with self.student_taps as student_taps:
            student = self._classify(features(self.student.frontend))
        teacher, teacher_taps = self._ask_teacher(batch.stored, features)
        return Step(batch.labels, student, teacher, student_taps, teacher_taps)

    @torch.no_grad()
    def _ask_teacher(
        self, stored: Stored | None, features: Features
    ) -> tuple[KeywordOutput | None, Mapping[str, Tensor]]:
        """What the teacher says or has said, and its tapped activations."""
        if stored is not None:
            return KeywordOutput(stored.logits), stored.taps
        if isinstance(self.teacher, Ensemble):
            return self.teacher.classify(features), {}
        if self.teacher is None or self.teacher_taps is None:
            return None, {}
        with self.teacher_taps as taps:
            return self.teacher.classify(features(self.teacher.frontend)), taps

    def forward(self, waveform: Tensor) -> Tensor:
        """Class scores (B, C) of waveforms (B, T)."""
        return self.student(waveform).logits

    def _classify(self, features: Tensor) -> KeywordOutput:
        """What the student says, rounded if it is trained for int8."""
        if self.quantisation is None:
            return self.student.classify(features)
        return self.quantisation(self.student, features)

    def validation_step(self, batch: KeywordBatch, batch_idx: int) -> None:
        logits = self._classify(self.student.frontend(batch.waveform)).logits
        self.validation_metrics.update(logits.float().softmax(dim=1), batch.labels)

    def on_validation_epoch_end(self) -> None:
        values = {f"validation/{key}": value for key, value in self.validation_metrics.compute().items()}
        self.log_dict(values)
        self.log("accuracy", values["validation/accuracy"], prog_bar=True, logger=False)
        self.validation_metrics.reset()

    def on_test_start(self) -> None:
        self.predictions = []

    def test_step(self, batch: KeywordBatch, batch_idx: int) -> None:
        probabilities = self(batch.waveform).float().softmax(dim=1)
        self.test_metrics.update(probabilities, batch.labels)
        self.predictions += keyword_lines(batch, probabilities, self.classes)

    def intervals(self) -> dict[str, list[float]]:
        return {"accuracy": accuracy_interval(self.predictions)}

    def on_test_epoch_end(self) -> None:
        self.log_dict(dict(self.test_metrics.compute()))
        self.test_metrics.reset()
        self.predictions = self.gathered(self.predictions)


def keyword_lines(batch: KeywordBatch, probabilities: Tensor, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Lines of ``predictions.jsonl``.

    Args:
        batch: of B clips.
        probabilities: (B, C) of the classes.
        classes: their names.
    """
    scores, outputs = probabilities.max(dim=1)
    columns = (
        batch.ids,
        batch.speakers,
        batch.snr.tolist(),
        batch.labels.tolist(),
        outputs.tolist(),
        scores.tolist(),
    )
    return [
        {
            "cut": cut,
            "reference": classes[label],
            "output": classes[output],
            "score": score,
            "speaker": speaker,
            "snr": None if math.isnan(snr) else snr,
        }
        for cut, speaker, snr, label, output, score in zip(*columns, strict=True)
    ]
