"""Terms on activations inside the networks, tapped by module path."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.distillers.terms import Step, Transfer
from kd_lightning.losses.summed import Summed
from kd_lightning.models.waveform_model import KeywordOutput

# Projections to other channels, by the number of dimensions: (B, C), (B, C, frames), (B, C, bands, frames).
_PROJECTIONS: dict[int, Callable[[int, int], nn.Module]] = {
    2: nn.Linear,
    3: lambda inputs, outputs: nn.Conv1d(inputs, outputs, kernel_size=1),
    4: lambda inputs, outputs: nn.Conv2d(inputs, outputs, kernel_size=1),
}

_log = logging.getLogger(__name__)


class ActivationMatching(Transfer):
    """A loss between activations of the student and of the teacher, whatever their channels.

    For losses that need no equal channels (attention maps, relations inside a batch). The teacher's activation is
    brought to the student's frames (and bands) by average pooling. With several pairs of layers the loss is the mean
    over the pairs, so the weight of the term does not depend on how many there are.

    Args:
        loss: ``(student (B, C, ...), teacher (B, D, ...)) -> Summed``.
        student: module path in the student's network, or a list of them.
        teacher: module path in the teacher's network, or a list of as many.
        student_channels: where the student's layers have their channels: "first" (B, C, ...), as convolutions, or
            "last" (B, frames, C), as recurrent networks and transformers.
        teacher_channels: the same of the teacher's.
        pooled: whether activations are averaged over frames (and bands) to embeddings (B, C) first.
        gate: see :class:`~kd_lightning.distillers.terms.Transfer`.

    Raises:
        ValueError: if there are not as many student's paths as teacher's, or channels are neither first nor last.
    """

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor], Summed],
        student: str | Sequence[str],
        teacher: str | Sequence[str],
        student_channels: str = "first",
        teacher_channels: str = "first",
        pooled: bool = False,
        gate: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__(loss, gate)
        self.student_paths = (student,) if isinstance(student, str) else tuple(student)
        self.teacher_paths = (teacher,) if isinstance(teacher, str) else tuple(teacher)
        if not self.student_paths or len(self.student_paths) != len(self.teacher_paths):
            raise ValueError(
                f"a transfer term pairs the student's layers {list(self.student_paths)} with the teacher's "
                f"{list(self.teacher_paths)}: name as many of each, at least one"
            )
        for key, channels in (("student_channels", student_channels), ("teacher_channels", teacher_channels)):
            if channels not in ("first", "last"):
                raise ValueError(f"{key}={channels} of a transfer term: set first or last")
        self.student_channels = student_channels
        self.teacher_channels = teacher_channels
        self.pooled = pooled

    def compare(self, step: Step, teacher: KeywordOutput) -> Summed:
        losses = [self.loss(*pair) for pair in self.pairs(step)]
        total = sum((summed.sum for summed in losses[1:]), losses[0].sum)
        # Each pair is of the same items (or of relations among them), so they have one count.
        return Summed(total / len(losses), losses[0].count)

    def pairs(self, step: Step) -> list[tuple[Tensor, Tensor]]:
        """Activations of the student and of the teacher, float32, channels first, with the student's frames."""
        aligned = []
        for student_path, teacher_path in zip(self.student_paths, self.teacher_paths, strict=True):
            student = _channels_first(step.student_taps[student_path].float(), self.student_channels)
            teacher = _channels_first(step.teacher_taps[teacher_path].float(), self.teacher_channels)
            if self.pooled:
                student, teacher = _pool(student), _pool(teacher)
            aligned.append((student, _resample(teacher, student)))
        return aligned


class Hint(ActivationMatching):
    """A loss between activations of equal shape (FitNets, Romero et al. 2015).

    The student's activation is brought to the teacher's channels by a learned 1x1 projection, one for each pair of
    layers. The projectors are trained with the student and never exported.

    Args:
        loss: ``(student (B, ...), teacher (B, ...)) -> Summed``, of equal shapes.
        others: see :class:`ActivationMatching`.

    Raises:
        ValueError: see :class:`ActivationMatching`; on the dry batch, if the layers of a pair do not have as many
            dimensions.
    """

    projector: nn.ModuleList  # from size()

    def size(self, step: Step) -> None:
        self.projector = nn.ModuleList(
            self._projection(number, student, teacher)
            for number, (student, teacher) in enumerate(super().pairs(step))
        )

    def pairs(self, step: Step) -> list[tuple[Tensor, Tensor]]:
        """What the base class gives, with the student's activations projected."""
        return [
            (project(student), teacher)
            for project, (student, teacher) in zip(self.projector, super().pairs(step), strict=True)
        ]

    def _projection(self, number: int, student: Tensor, teacher: Tensor) -> nn.Module:
        paths = f"{self.student_paths[number]!r}", f"{self.teacher_paths[number]!r}"
        if student.ndim != teacher.ndim or student.ndim not in _PROJECTIONS:
            raise ValueError(
                f"transfer hint: {paths[0]} gives {tuple(student.shape)} and {paths[1]} gives "
                f"{tuple(teacher.shape)}; choose module paths whose activations have as many dimensions (two to "
                "four), or set pooled=true"
            )
        # Nothing else shows that channels were taken for frames.
        _log.info(
            "hint: %d channels of the student's %s learn %d of the teacher's %s",
            *(student.shape[1], paths[0], teacher.shape[1], paths[1]),
        )
        return _PROJECTIONS[student.ndim](student.shape[1], teacher.shape[1])


def _channels_first(tapped: Tensor, channels: str) -> Tensor:
    return tapped.movedim(-1, 1) if channels == "last" else tapped


def _pool(activation: Tensor) -> Tensor:
    return activation.flatten(start_dim=2).mean(dim=2) if activation.ndim > 2 else activation


def _resample(teacher: Tensor, student: Tensor) -> Tensor:
    """The teacher's activation on the student's frames (and bands), where both have as many dimensions."""
    if teacher.ndim != student.ndim or teacher.shape[2:] == student.shape[2:]:
        return teacher
    if teacher.ndim == 3:
        return functional.adaptive_avg_pool1d(teacher, student.shape[2])
    return functional.adaptive_avg_pool2d(teacher, (student.shape[2], student.shape[3]))
