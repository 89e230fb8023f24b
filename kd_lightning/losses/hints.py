"""Losses against a teacher's intermediate activations."""

from torch import Tensor

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
