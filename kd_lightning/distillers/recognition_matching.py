"""Terms of speech recognition that compare what the student and the teacher say: frames, tokens, attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from kd_lightning.distillers.recognition_terms import (
    RecognitionStep,
    RecognitionTerm,
    frame_logits,
    lower_logits,
    token_logits,
)
from kd_lightning.losses.frame_rates import average_pool, interpolate, max_pool
from kd_lightning.losses.frames import Frames, best_match, require_selection, select
from kd_lightning.losses.summed import Summed
from kd_lightning.models.padding import frame_mask
from kd_lightning.models.recognition_output import RecognitionOutput

Adapter = Literal["max_pool", "pool", "interpolate"]
# Of an averaged posterior that underflows, so that its logarithm is finite.
_TINY = torch.finfo(torch.float32).tiny


class FrameMatching(RecognitionTerm):
    """A loss between the frames of both CTC layers, over the frames that the teacher selects.

    Where the frame rates differ, the teacher's posteriors are brought to the student's frames first.

    Args:
        loss: ``(student's logits (N, V), teacher's (N, V)) -> Summed`` of N frames: one of
            :mod:`kd_lightning.losses.logits` or :mod:`kd_lightning.losses.frames`.
        frames: ``all``, ``non_blank`` or ``symmetric``, see :func:`~kd_lightning.losses.frames.select`.
        neighbours: on each side of a non-blank frame, for ``symmetric``.
        adapter: for teachers of another frame rate. ``max_pool`` keeps spikes, ``pool`` averages, ``interpolate``
            draws straight lines.
        tolerance: a frame of the teacher may teach a frame of the student so many frames earlier or later, the one most
            like it.

    Raises:
        ValueError: a setting that does not exist; in the first step, if a network has no CTC layer, or if the two have
            other tokens.
    """

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor], Summed],
        frames: Frames = "all",
        neighbours: int = 1,
        adapter: Adapter = "max_pool",
        tolerance: int = 0,
    ) -> None:
        super().__init__()
        require_selection(frames, neighbours)
        if adapter not in get_args(Adapter):
            raise ValueError(
                f"adapter={adapter} of a transfer term: set one of {', '.join(get_args(Adapter))}"
            )
        if tolerance < 0:
            raise ValueError(f"tolerance={tolerance} of a transfer term: set 0 or more frames")
        self.loss = loss
        self.frames = frames
        self.neighbours = neighbours
        self.adapter = adapter
        self.tolerance = tolerance

    def outputs(self, step: RecognitionStep) -> tuple[Tensor, ...]:
        """The student's logits (B, frames, V) that learn from the teacher's."""
        return (frame_logits(step.student, "student"),)

    def forward(self, step: RecognitionStep) -> Summed:
        assert step.teacher is not None
        outputs = self.outputs(step)
        require_same_tokens(outputs[0], frame_logits(step.teacher, "teacher"))
        valid = frame_mask(step.student.lengths, outputs[0].shape[1])
        teacher = self._at_students_rate(step.teacher, step.student.lengths, valid.shape[1])
        kept = select(teacher, valid, self.frames, self.neighbours)
        losses = [
            self.loss(self._matched(student, teacher, valid)[kept], teacher[kept]) for student in outputs
        ]
        return Summed(torch.stack([summed.sum for summed in losses]).mean(), losses[0].count)

    def _at_students_rate(self, teacher: RecognitionOutput, lengths: Tensor, frames: int) -> Tensor:
        """The teacher's log-posteriors (B, frames, V)."""
        logits = frame_logits(teacher, "teacher")
        log_posteriors = logits.float().log_softmax(dim=-1)
        if self.adapter == "max_pool":
            return max_pool(log_posteriors, logits.argmax(dim=-1) != 0, teacher.lengths, lengths, frames)
        resample = average_pool if self.adapter == "pool" else interpolate
        posteriors = resample(log_posteriors.exp(), teacher.lengths, lengths, frames)
        return posteriors.clamp(min=_TINY).log()

    def _matched(self, student: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
        """The student's logits, each frame from where it is most like the teacher's."""
        if self.tolerance == 0:
            return student
        with torch.no_grad():
            posteriors = student.float().softmax(dim=-1), teacher.softmax(dim=-1)
            places = best_match(*posteriors, valid, self.tolerance)
        return student.gather(1, places.unsqueeze(-1).expand_as(student))


class IntermediateMatching(FrameMatching):
    """The same for the student's CTC on lower layers, which learn from the teacher's last; the mean over them.

    Yoon et al., "Inter-KD: Intermediate Knowledge Distillation for CTC-Based Automatic Speech Recognition", SLT 2022.

    Args:
        arguments: see :class:`FrameMatching`.

    Raises:
        ValueError: see :class:`FrameMatching`; in the first step, if the student has no CTC on lower layers.
    """

    def outputs(self, step: RecognitionStep) -> tuple[Tensor, ...]:
        return lower_logits(step.student)


class TokenMatching(RecognitionTerm):
    """A loss between the tokens of both decoders after the same prefix, the end of the sentence included.

    The teacher may be a text language model: its log-probabilities, as ``token_logits`` of an output without frames,
    are logits too (Bai et al., "Learn Spelling from Teachers", Interspeech 2019).

    Args:
        loss: ``(student's logits (N, V), teacher's (N, V)) -> Summed`` of N tokens, one of
            :mod:`kd_lightning.losses.logits`.

    Raises:
        ValueError: in the first step, if one has no decoder, or if the two have other tokens.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: RecognitionStep) -> Summed:
        assert step.teacher is not None
        student, teacher = token_logits(step.student, "student"), token_logits(step.teacher, "teacher")
        require_same_tokens(student, teacher)
        given = _given(step, student.shape[1])
        return self.loss(student[given], teacher[given])


class AttentionMatching(RecognitionTerm):
    """A loss between the cross-attention of both decoders after the same prefix.

    The teacher's weights are pooled to the student's frames and sum to 1 again.

    Args:
        loss: ``(student (N, frames), teacher (N, frames)) -> Summed`` of N tokens, one of
            :mod:`kd_lightning.losses.cross_attention`.

    Raises:
        ValueError: in the first step, if one has no decoder, or one that does not show its attention.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: RecognitionStep) -> Summed:
        assert step.teacher is not None
        student, teacher = _attention(step.student, "student"), _attention(step.teacher, "teacher")
        pooled = average_pool(
            teacher.transpose(1, 2), step.teacher.lengths, step.student.lengths, student.shape[2]
        ).transpose(1, 2)
        given = _given(step, student.shape[1])
        weights = pooled[given]
        return self.loss(student[given], weights / weights.sum(dim=-1, keepdim=True).clamp(min=_TINY))


def require_same_tokens(student: Tensor, teacher: Tensor) -> None:
    """Refuse outputs (B, ..., V) over vocabularies of different size.

    Raises:
        ValueError: naming both sizes.
    """
    if student.shape[-1] != teacher.shape[-1]:
        raise ValueError(
            f"the student has {student.shape[-1]} tokens and the teacher {teacher.shape[-1]}, so their scores cannot "
            "be compared: take transfer=sequence, which learns from the teacher's text, or give the student the "
            "teacher's tokens"
        )


def _given(step: RecognitionStep, places: int) -> Tensor:
    """(B, U + 1) bool: the tokens of the prefix, where there is one, and the end after them."""
    prefix = step.prefix
    return frame_mask(prefix.lengths + 1, places) & prefix.labelled.unsqueeze(1)


def _attention(output: RecognitionOutput, role: str) -> Tensor:
    if output.attention is None:
        raise ValueError(
            f"a term compares the attention of decoders and the {role} shows none: choose another {role}, or "
            "transfer=attention_tokens, which needs only what the decoder says"
        )
    return output.attention
