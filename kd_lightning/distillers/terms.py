"""Terms: what each weighted loss reads of a step.

A loss is a pure function of tensors; a term knows which tensors of the step to hand it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.losses.summed import Summed
from kd_lightning.models.waveform_model import KeywordOutput


class Step(NamedTuple):
    """What one training step offers to the terms.

    Attributes:
        labels: (B,) int64, ``IGNORE`` where a label is hidden.
        student: what the student said.
        teacher: what the teacher said of the same view, ``None`` without one.
        student_taps: activations inside the student by module path.
        teacher_taps: activations inside the teacher by module path.
    """

    labels: Tensor
    student: KeywordOutput
    teacher: KeywordOutput | None
    student_taps: Mapping[str, Tensor]
    teacher_taps: Mapping[str, Tensor]


class Term(nn.Module):
    """One loss. Maps a step to a sum and the count of valid items behind it."""

    needs_teacher = True
    student_paths: tuple[str, ...] = ()
    teacher_paths: tuple[str, ...] = ()

    def size(self, step: Step) -> None:
        """Create what depends on the shapes of one dry batch. Most terms have nothing to create."""

    def forward(self, step: Step) -> Summed:
        raise NotImplementedError


class Supervised(Term):
    """A loss of the student's logits and the labels.

    Args:
        loss: ``(logits (B, C), labels (B,)) -> Summed``.
    """

    needs_teacher = False

    def __init__(self, loss: Callable[[Tensor, Tensor], Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: Step) -> Summed:
        return self.loss(step.student.logits, step.labels)


class LogitMatching(Term):
    """A loss of the student's and the teacher's logits.

    Args:
        loss: ``(student (B, C), teacher (B, C)) -> Summed``.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: Step) -> Summed:
        assert step.teacher is not None
        return self.loss(step.student.logits, step.teacher.logits)


class Hint(Term):
    """A loss between activations of the student and of the teacher (FitNets, Romero et al. 2015).

    The student's activation is brought to the teacher's channels by a learned 1x1 projection, and the teacher's to the
    student's frames (and bands) by average pooling. The projector is trained with the student and never exported.

    Args:
        loss: ``(student (B, ...), teacher (B, ...)) -> Summed``, of equal shapes.
        student: module path in the student's network.
        teacher: module path in the teacher's network.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Summed], student: str, teacher: str) -> None:
        super().__init__()
        self.loss = loss
        self.student_paths = (student,)
        self.teacher_paths = (teacher,)
        self.projector: nn.Module | None = None

    def size(self, step: Step) -> None:
        student, teacher = self._taps(step)
        if student.ndim != teacher.ndim:
            raise ValueError(
                f"transfer hint: {self.student_paths[0]!r} gives {tuple(student.shape)} and {self.teacher_paths[0]!r} "
                f"gives {tuple(teacher.shape)}; choose module paths whose activations have as many dimensions"
            )
        layer = {2: nn.Linear, 3: nn.Conv1d, 4: nn.Conv2d}[student.ndim]
        extra = {} if student.ndim == 2 else {"kernel_size": 1}
        self.projector = layer(student.shape[1], teacher.shape[1], **extra)

    def forward(self, step: Step) -> Summed:
        student, teacher = self._taps(step)
        assert self.projector is not None, "size() comes before the first step"
        if teacher.ndim == 3:
            teacher = functional.adaptive_avg_pool1d(teacher, student.shape[2])
        elif teacher.ndim == 4:
            teacher = functional.adaptive_avg_pool2d(teacher, (student.shape[2], student.shape[3]))
        return self.loss(self.projector(student), teacher)

    def _taps(self, step: Step) -> tuple[Tensor, Tensor]:
        return step.student_taps[self.student_paths[0]].float(), step.teacher_taps[
            self.teacher_paths[0]
        ].float()
