"""Losses against a teacher's intermediate activations."""

from torch import Tensor
from torch.nn import functional

from kd_lightning.losses.summed import Summed, over_batch, require_same_shape


def hint(student: Tensor, teacher: Tensor) -> Summed:
    """Mean squared error of each item's activations, (1 / N) ||student - teacher||^2 with N numbers an item.

    Romero et al., "FitNets: Hints for Thin Deep Nets", 2015. Where the layers' sizes differ, a projector of
    the distiller maps the student's to the teacher's first.

    Args:
        student: (B, ...) of any floating type.
        teacher: of the same shape.

    Returns:
        The sum over the batch and B, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(student, teacher)
    return over_batch((student.float() - teacher.float()).square().flatten(start_dim=1).mean(dim=1))


def cosine(student: Tensor, teacher: Tensor) -> Summed:
    """1 - cos(student, teacher) over the channels, averaged over an item's frames (and bands).

    Only directions count, so the student is free in how large its activations are.

    Args:
        student: (B, C, ...) of any floating type; embeddings (B, C) or activations with frames.
        teacher: of the same shape.

    Returns:
        The sum over the batch and B, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(student, teacher)
    # (B, C, frames times bands); one frame for embeddings.
    ours, theirs = (side.float().unsqueeze(-1).flatten(start_dim=2) for side in (student, teacher))
    return over_batch(1 - functional.cosine_similarity(ours, theirs, dim=1).mean(dim=1))
