"""Terms: what each weighted loss reads of a step.

A loss is a pure function of tensors; a term knows which tensors of the step to hand it. Terms on activations inside the
networks are in :mod:`kd_lightning.distillers.hints`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from kd_lightning.losses.labels import IGNORE
from kd_lightning.losses.summed import Summed
from kd_lightning.models.waveform_model import KeywordOutput


class Step(NamedTuple):
    """What one training step offers to the terms.

    Attributes:
        labels: (B,) int64, ``IGNORE`` where a label is hidden.
        student: what the student said.
        teacher: what the teacher said of the same view, ``None`` without one.
        student_taps: activations (B, ...) inside the student by module path.
        teacher_taps: activations (B, ...) inside the teacher by module path.
    """

    labels: Tensor
    student: KeywordOutput
    teacher: KeywordOutput | None
    student_taps: Mapping[str, Tensor]
    teacher_taps: Mapping[str, Tensor]

    def only(self, kept: Tensor) -> Step:
        """The step of the items that ``kept`` (B,) bool marks, maybe of none."""
        rows = kept.nonzero().squeeze(1)
        return Step(
            self.labels[rows],
            _rows_of(self.student, rows),
            None if self.teacher is None else _rows_of(self.teacher, rows),
            {path: tapped[rows] for path, tapped in self.student_taps.items()},
            {path: tapped[rows] for path, tapped in self.teacher_taps.items()},
        )


class Term(nn.Module):
    """One loss. Maps a step of its task to a sum and the count of valid items behind it."""

    needs_teacher = True
    student_paths: tuple[str, ...] = ()
    teacher_paths: tuple[str, ...] = ()

    @property
    def is_sized(self) -> bool:
        """Whether :meth:`size` has to see a dry batch."""
        return bool(self.student_paths)

    def size(self, step: Any) -> None:
        """Create what depends on the shapes of one dry batch. Most terms have nothing to create."""

    def forward(self, step: Any) -> Summed:
        raise NotImplementedError


class Supervised(Term):
    """A loss of the student's logits and the labels.

    A student with a distillation token has a second head that listens to the teacher. Without a teacher in the step
    (baseline, finetune) both heads learn from the labels, each with half of the loss: evaluation averages them.

    Args:
        loss: ``(logits (B, C), labels (B,)) -> Summed``.
    """

    needs_teacher = False

    def __init__(self, loss: Callable[[Tensor, Tensor], Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: Step) -> Summed:
        summed = self.loss(step.student.logits, step.labels)
        if step.teacher is not None or step.student.distillation_logits is None:
            return summed
        other = self.loss(step.student.distillation_logits, step.labels)
        return Summed((summed.sum + other.sum) / 2, summed.count)


class Transfer(Term):
    """A loss between what the student and what the teacher says, over the items that a gate lets through.

    The items of the batch that pass are selected before anything is compared, so relations inside a batch are relations
    of those. Where none passes, sum and count are 0 and all gradients are there and 0.

    Args:
        loss: see the term.
        gate: ``(labels (B,), the teacher's logits (B, C)) -> (B,) bool``, one of
            :mod:`kd_lightning.distillers.gates`; ``None`` lets all pass.
    """

    def __init__(
        self, loss: Callable[..., Summed], gate: Callable[[Tensor, Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.loss = loss
        self.gate = gate

    def forward(self, step: Step) -> Summed:
        assert step.teacher is not None
        if self.gate is None:
            return self.compare(step, step.teacher)
        passed = step.only(self.gate(step.labels, step.teacher.logits))
        assert passed.teacher is not None
        return self.compare(passed, passed.teacher)

    def compare(self, step: Step, teacher: KeywordOutput) -> Summed:
        """The loss of all items of a step with this teacher."""
        raise NotImplementedError


class LogitMatching(Transfer):
    """A loss of the student's and the teacher's logits.

    The student's are those of its distillation token where it has one (Touvron et al. 2021).

    Args:
        loss: ``(student (B, C), teacher (B, C)) -> Summed``.
        gate: see :class:`Transfer`.
    """

    def compare(self, step: Step, teacher: KeywordOutput) -> Summed:
        return self.loss(listening(step.student), teacher.logits)


class DecoupledMatching(Transfer):
    """A loss of both networks' logits that treats the target class apart (Zhao et al. 2022).

    The target is the label. Where the label is hidden it is the teacher's first choice: most clips of a corpus with few
    labels teach through this term alone.

    Args:
        loss: ``(student (B, C), teacher (B, C), target (B,)) -> Summed``.
        gate: see :class:`Transfer`.
    """

    def compare(self, step: Step, teacher: KeywordOutput) -> Summed:
        target = step.labels.where(step.labels != IGNORE, teacher.logits.argmax(dim=-1))
        return self.loss(listening(step.student), teacher.logits, target)


def listening(student: KeywordOutput) -> Tensor:
    """The student's logits (B, C) that learn from the teacher: the distillation token's where there is one."""
    return student.logits if student.distillation_logits is None else student.distillation_logits


def _rows_of(output: KeywordOutput, rows: Tensor) -> KeywordOutput:
    second = output.distillation_logits
    return KeywordOutput(output.logits[rows], None if second is None else second[rows])
