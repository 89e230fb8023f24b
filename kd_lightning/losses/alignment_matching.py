"""Losses between the attention of two decoders that speak the same sentences in as many frames.

A decoder takes a step every few frames, and two decoders may take steps of different length. The finer attention is
then averaged over each step of the coarser one; a step that overlaps with two of them belongs to both in part.
"""

import torch
from torch import Tensor

from kd_lightning.losses.cross_attention import attention_divergence, attention_error
from kd_lightning.losses.lengths import places
from kd_lightning.losses.summed import Summed


def alignment_divergence(
    student: Tensor,
    teacher: Tensor,
    tokens: Tensor,
    frames: Tensor,
    student_frames_per_step: int,
    teacher_frames_per_step: int,
) -> Summed:
    """KL(teacher || student) of the weights over tokens, in the steps of the coarser decoder.

    Args:
        student: (B, S, U) attention of any floating type; the sum of a row is 1.
        teacher: (B, S', U).
        tokens: (B,) int64, tokens that are not padding.
        frames: (B,) int64, frames of both that are not padding.
        student_frames_per_step: of the student.
        teacher_frames_per_step: of the teacher.

    Returns:
        The sum over the valid steps and their number, float32.

    Raises:
        ValueError: if the tokens differ, or the steps do not cover the same frames.
    """
    steps = (student_frames_per_step, teacher_frames_per_step)
    return attention_divergence(*_rows(student, teacher, tokens, frames, steps))


def alignment_error(
    student: Tensor,
    teacher: Tensor,
    tokens: Tensor,
    frames: Tensor,
    student_frames_per_step: int,
    teacher_frames_per_step: int,
) -> Summed:
    """||teacher - student||^2 of the weights over tokens, in the steps of the coarser decoder; at most 2 a step.

    Arguments, result and refusals are those of :func:`alignment_divergence`.
    """
    steps = (student_frames_per_step, teacher_frames_per_step)
    return attention_error(*_rows(student, teacher, tokens, frames, steps))


def _rows(
    student: Tensor, teacher: Tensor, tokens: Tensor, frames: Tensor, frames_per_step: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The valid steps (N, U) of both."""
    ours, theirs = frames_per_step
    coarser = max(frames_per_step)
    # Both cover the longest utterance, so the coarser one knows how many steps that takes.
    size = (student if ours == coarser else teacher).shape[1]
    valid = places((frames + coarser - 1) // coarser, size)
    padding = ~places(tokens, student.shape[2])[:, None]
    student, teacher = (
        average_steps(attention.float(), frames, own, coarser, size)
        for attention, own in ((student, ours), (teacher, theirs))
    )
    if student.shape != teacher.shape:
        raise ValueError(
            f"attention of {tuple(student.shape)} and of {tuple(teacher.shape)} (sentences, steps of {coarser} frames, "
            "tokens): student and teacher must have read the same tokens, and been given the same recording"
        )
    return student.masked_fill(padding, 0.0)[valid], teacher.masked_fill(padding, 0.0)[valid]


def average_steps(attention: Tensor, frames: Tensor, own: int, coarser: int, steps: int) -> Tensor:
    """The mean of attention over longer steps, by the frames that steps share.

    Args:
        attention: (B, S, U) float32.
        frames: (B,) int64, frames that are not padding.
        own: frames of a step.
        coarser: frames of a longer step.
        steps: how many longer ones.

    Returns:
        (B, steps, U) float32, 0 beyond the frames; as it was where the steps are equally long.
    """
    if own == coarser:
        return attention
    here, there = (
        torch.arange(count, device=frames.device) * length
        for count, length in ((steps, coarser), (attention.shape[1], own))
    )
    ends = frames[:, None, None]
    shared = torch.minimum((here + coarser)[:, None], (there + own)[None]).minimum(ends)
    shared = (shared - torch.maximum(here[:, None], there[None])).clamp(min=0)
    weights = shared / shared.sum(dim=2, keepdim=True).clamp(min=1)
    with torch.autocast(attention.device.type, enabled=False):
        return weights @ attention
