"""Which frames of a CTC teacher to learn from, and losses that treat its spikes in their own way.

Posteriors of CTC are spiky: blank nearly everywhere, each token in a frame or two. Selected frames are items like any
others, so all of :mod:`kd_lightning.losses.logits` applies to them: soft targets of frames are ``soft_targets(student
[kept], teacher[kept])``.
"""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.losses.summed import Summed, over_batch, require_same_shape

Frames = Literal["all", "non_blank", "symmetric"]


def select(teacher: Tensor, valid: Tensor, frames: Frames = "all", neighbours: int = 1) -> Tensor:
    """The frames from which a student learns.

    Hilmes et al., "Analyzing the Importance of Blank for CTC-Based Knowledge Distillation", Interspeech 2025.

    Args:
        teacher: logits (B, frames, V), token 0 is blank.
        valid: (B, frames) bool, false for padding.
        frames: ``all``; ``non_blank``: where blank is not the teacher's first choice (blank elimination);
            ``symmetric``: these and their neighbours.
        neighbours: of a non-blank frame on each side, for ``symmetric``; 0 is ``non_blank``.

    Returns:
        (B, frames) bool.

    Raises:
        ValueError: an unknown selection, or fewer neighbours than none.
    """
    require_selection(frames, neighbours)
    if frames == "all":
        return valid
    spikes = valid & (teacher.argmax(dim=-1) != 0)
    if frames == "non_blank" or neighbours == 0:
        return spikes
    near = functional.max_pool1d(spikes.float(), 2 * neighbours + 1, stride=1, padding=neighbours) > 0
    return valid & near


def require_selection(frames: str, neighbours: int) -> None:
    """Refuse a selection that does not exist.

    Raises:
        ValueError: naming the keys of the config.
    """
    if frames not in get_args(Frames):
        raise ValueError(f"frames={frames} of a transfer term: set one of {', '.join(get_args(Frames))}")
    if neighbours < 0:
        raise ValueError(f"neighbours={neighbours} of a transfer term: set 0 or more frames on each side")


def best_match(student: Tensor, teacher: Tensor, valid: Tensor, tolerance: int) -> Tensor:
    """For each frame of the teacher, the student's frame that is most like it, a few frames earlier or later.

    A student may place a token a little before or after its teacher. Likeness is the squared distance; of frames that
    are equally like, the nearest in time is taken, the earlier first.

    Args:
        student: (B, frames, C), posteriors or activations.
        teacher: (B, frames, C).
        valid: (B, frames) bool, false for padding, which matches nothing.
        tolerance: frames on each side.

    Returns:
        (B, frames) int64, the student's frame; at padding some frame.
    """
    frames = student.shape[1]
    here = torch.arange(frames, device=student.device)
    shifts = sorted(range(-tolerance, tolerance + 1), key=abs)
    places = torch.stack([(here + shift).clamp(0, frames - 1) for shift in shifts])
    inside = torch.stack([(here + shift >= 0) & (here + shift < frames) for shift in shifts])
    distances = torch.stack(
        [
            (student[:, place].float() - teacher.float()).square().sum(dim=-1)
            .masked_fill(~(valid[:, place] & there), float("inf"))
            for place, there in zip(places, inside, strict=True)
        ]
    )  # fmt: skip
    return places[distances.argmin(dim=0), here]


def posterior_error(student: Tensor, teacher: Tensor) -> Summed:
    """||softmax(student) - softmax(teacher)||^2.

    Yoon et al., "TutorNet: Towards Flexible Knowledge Distillation for End-to-End Speech Recognition", IEEE/ACM TASLP
    2021: unlike the KL divergence it is bounded, so a spike that the student puts elsewhere costs at most 2.

    Args:
        student: logits (N, V) of N frames, of any floating type.
        teacher: logits (N, V).

    Returns:
        The sum over the frames and N, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(student, teacher)
    difference = student.float().softmax(dim=-1) - teacher.float().softmax(dim=-1)
    return over_batch(difference.square().sum(dim=-1))


def guided(student: Tensor, teacher: Tensor) -> Summed:
    """1 - the student's posterior of the teacher's first choice: for frames where that is not blank.

    Kurata & Audhkhasi, "Guiding CTC Posterior Spike Timings for Improved Posterior Fusion and Knowledge Distillation",
    Interspeech 2019. The paper maximises the sum of the student's posteriors under a mask of the teacher's spikes; this
    has the same gradient. It teaches when tokens come, not how sure the teacher is.

    Args:
        student: logits (N, V) of the N frames in which the teacher's first choice is not blank.
        teacher: logits (N, V).

    Returns:
        The sum over the frames and N, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(student, teacher)
    spikes = teacher.argmax(dim=-1, keepdim=True)
    return over_batch(1 - student.float().softmax(dim=-1).gather(-1, spikes).squeeze(-1))
