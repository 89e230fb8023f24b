"""What every loss returns: a sum over valid items and their count."""

from typing import NamedTuple

from torch import Tensor


class Summed(NamedTuple):
    """A loss before the division, so that ranks and padding cannot change the mean.

    Attributes:
        sum: scalar float32, summed over the valid items.
        count: scalar float32, the number of valid items; may be 0.
    """

    sum: Tensor
    count: Tensor  # type: ignore[assignment]  # hides tuple.count, which nobody needs here


def over_batch(losses: Tensor) -> Summed:
    """Sum losses (B,) that are all valid."""
    return Summed(losses.sum(), losses.new_full((), losses.shape[0]))


def require_same_shape(student: Tensor, teacher: Tensor) -> None:
    """Refuse tensors that would only agree by broadcasting.

    Raises:
        ValueError: naming both shapes.
    """
    if student.shape != teacher.shape:
        raise ValueError(
            f"the student's output has the shape {tuple(student.shape)} and the teacher's "
            f"{tuple(teacher.shape)}: they must agree (same classes or layers, or a projector in between)"
        )
