"""Bring what a teacher says of its frames to the frames of a student.

Networks shorten time by different factors. Each utterance is stretched between its own lengths, so neither padding nor
the rest of the batch changes what comes out, and equal lengths change nothing, bit for bit. A teacher's frame belongs
to the frame of the student in which its middle lies. A student's frame in which no middle lies (a student with more
frames than its teacher has such) hears the teacher's frame around its own middle.
"""

from typing import NamedTuple

import torch
from torch import Tensor


def average_pool(teacher: Tensor, teacher_lengths: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """The mean of the teacher's frames that belong to each frame of the student.

    Args:
        teacher: (B, teacher's frames, C) of any floating type: posteriors or activations.
        teacher_lengths: (B,) int64, valid frames of the teacher.
        lengths: (B,) int64, valid frames of the student.
        frames: of the student's padded batch.

    Returns:
        (B, frames, C) float32, 0 beyond the lengths.
    """
    belonging = _belonging(teacher, teacher_lengths, lengths, frames)
    return _pool(teacher.float(), belonging, belonging.owner, "mean")


def max_pool(
    teacher: Tensor, spikes: Tensor, teacher_lengths: Tensor, lengths: Tensor, frames: int
) -> Tensor:
    """The largest of each number over those of the belonging frames that are spikes, or over all where none is.

    The mean would drown a spike in the blanks beside it.

    Args:
        teacher: (B, teacher's frames, C) of any floating type: log-posteriors.
        spikes: (B, teacher's frames) bool, where blank is not the teacher's first choice.
        teacher_lengths: (B,) int64, valid frames of the teacher.
        lengths: (B,) int64, valid frames of the student.
        frames: of the student's padded batch.

    Returns:
        (B, frames, C) float32, 0 beyond the lengths.
    """
    belonging = _belonging(teacher, teacher_lengths, lengths, frames)
    spiking = spikes.new_zeros(len(spikes), frames + 1)
    spiking.scatter_(1, belonging.owner.where(spikes, frames), True)
    silenced = ~spikes & spiking.gather(1, belonging.owner)
    return _pool(teacher.float(), belonging, belonging.owner.masked_fill(silenced, frames), "amax")


def interpolate(teacher: Tensor, teacher_lengths: Tensor, lengths: Tensor, frames: int) -> Tensor:
    """The teacher at the middle of each frame of the student, on straight lines between the middles of its own frames.

    Args:
        teacher: (B, teacher's frames, C) of any floating type: posteriors or activations.
        teacher_lengths: (B,) int64, valid frames of the teacher.
        lengths: (B,) int64, valid frames of the student.
        frames: of the student's padded batch.

    Returns:
        (B, frames, C) float32, 0 beyond the lengths.
    """
    theirs, ours = _at_least_one(teacher_lengths), _at_least_one(lengths)
    here = torch.arange(frames, device=teacher.device)
    # (i + 1/2) theirs / ours - 1/2 in units of 1 / (2 ours), where integers are exact; flat beyond the first and last.
    position = ((2 * here + 1) * theirs - ours).clamp(min=0).minimum(2 * ours * (theirs - 1))
    before = position // (2 * ours)
    after = (before + 1).minimum(theirs - 1)
    share = ((position - before * 2 * ours) / (2 * ours)).unsqueeze(-1)
    found = torch.lerp(_take(teacher.float(), before), _take(teacher.float(), after), share)
    return found.masked_fill((here >= lengths[:, None]).unsqueeze(-1), 0.0)


class _Belonging(NamedTuple):
    """Which frames belong together.

    Attributes:
        owner: (B, teacher's frames) int64, the student's frame of each; ``frames`` for padding.
        nearest: (B, frames) int64, the teacher's frame around the middle of each of the student's.
        valid: (B, frames, 1) bool, false for the student's padding.
    """

    owner: Tensor
    nearest: Tensor
    valid: Tensor


def _belonging(teacher: Tensor, teacher_lengths: Tensor, lengths: Tensor, frames: int) -> _Belonging:
    theirs, ours = _at_least_one(teacher_lengths), _at_least_one(lengths)
    there = torch.arange(teacher.shape[1], device=teacher.device)
    here = torch.arange(frames, device=teacher.device)
    owner = ((2 * there + 1) * ours // (2 * theirs)).where(there < theirs, frames)
    nearest = ((2 * here + 1) * theirs // (2 * ours)).minimum(theirs - 1)
    return _Belonging(owner, nearest, (here < lengths[:, None]).unsqueeze(-1))


def _pool(teacher: Tensor, belonging: _Belonging, owner: Tensor, how: str) -> Tensor:
    """Reduce the frames with the same owner; what the owner ``frames`` gets is dropped."""
    batch, frames = belonging.nearest.shape
    index = owner.unsqueeze(-1).expand_as(teacher)
    pooled = teacher.new_zeros(batch, frames + 1, teacher.shape[2])
    pooled = pooled.scatter_reduce(1, index, teacher, how, include_self=False)[:, :frames]
    reached = torch.zeros(batch, frames + 1, dtype=torch.bool, device=teacher.device)
    reached = reached.scatter(1, owner, True)[:, :frames].unsqueeze(-1)
    return pooled.where(reached, _take(teacher, belonging.nearest)).where(belonging.valid, 0.0)


def _take(teacher: Tensor, places: Tensor) -> Tensor:
    return teacher.gather(1, places.unsqueeze(-1).expand(-1, -1, teacher.shape[2]))


def _at_least_one(lengths: Tensor) -> Tensor:
    """(B, 1), so that an utterance without frames divides by no zero."""
    return lengths.clamp(min=1).unsqueeze(1)
