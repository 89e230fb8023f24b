"""Losses between the attention maps of two networks: where in a clip their activations are large."""

from torch import Tensor
from torch.nn import functional

from kd_lightning.losses.summed import Summed, over_batch, require_same_shape


def attention_transfer(student: Tensor, teacher: Tensor) -> Summed:
    """||Q_s / ||Q_s|| - Q_t / ||Q_t||||^2 of each item, with the map Q = sum over channels of A^2.

    Zagoruyko & Komodakis, "Paying More Attention to Attention", ICLR 2017, eq. 2, with the norm squared so that the
    gradient fades as the maps agree. It lies in [0, 2] whatever the size of the map, and channels need not match.

    Args:
        student: activations (B, C, frames) or (B, C, bands, frames) of any floating type.
        teacher: (B, D, ...) with the same frames (and bands).

    Returns:
        The sum over the batch and B, float32.

    Raises:
        ValueError: if frames or bands differ.
    """
    ours, theirs = _map(student), _map(teacher)
    require_same_shape(ours, theirs)
    difference = functional.normalize(ours.flatten(1), dim=1) - functional.normalize(theirs.flatten(1), dim=1)
    return over_batch(difference.square().sum(dim=1))


def _map(activation: Tensor) -> Tensor:
    return activation.float().square().sum(dim=1)
