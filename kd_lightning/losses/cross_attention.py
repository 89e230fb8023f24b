"""Losses between the cross-attention of two decoders: over which frames each looks before it says a token."""

from torch import Tensor

from kd_lightning.losses.summed import Summed, over_batch, require_same_shape

# Below this a weight is none. Padding has weight 0 in both networks, and its logarithm must not be taken.
TINY = 1e-8


def attention_divergence(student: Tensor, teacher: Tensor) -> Summed:
    """KL(teacher || student) of weights over frames.

    Args:
        student: (N, frames) of N tokens, not negative, each row's sum is 1, of any floating type.
        teacher: (N, frames).

    Returns:
        The sum over the tokens and N, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(student, teacher)
    ours, theirs = student.float().clamp(min=TINY), teacher.float().clamp(min=TINY)
    return over_batch((theirs * (theirs / ours).log()).sum(dim=-1))


def attention_error(student: Tensor, teacher: Tensor) -> Summed:
    """||teacher - student||^2 of weights over frames: at most 2, however far apart the two look.

    Args:
        student: (N, frames) of N tokens, each row's sum is 1, of any floating type.
        teacher: (N, frames).

    Returns:
        The sum over the tokens and N, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(student, teacher)
    return over_batch((student.float() - teacher.float()).square().sum(dim=-1))
