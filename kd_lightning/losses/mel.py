"""Losses between mel spectrograms."""

from torch import Tensor

from kd_lightning.losses.lengths import places
from kd_lightning.losses.summed import Summed, require_same_shape


def mel_l1(said: Tensor, wanted: Tensor, frames: Tensor) -> Summed:
    """|said - wanted| of each bin.

    Args:
        said: (B, bins, frames) log-mel of any floating type.
        wanted: (B, bins, frames).
        frames: (B,) int64, frames that are not padding.

    Returns:
        The sum over the bins of valid frames and their number (bins times frames), float32.

    Raises:
        ValueError: if the shapes differ.
    """
    difference, count = _difference(said, wanted, frames)
    return Summed(difference.abs().sum(), count)


def mel_mse(said: Tensor, wanted: Tensor, frames: Tensor) -> Summed:
    """(said - wanted)^2 of each bin.

    Args:
        said: (B, bins, frames) log-mel of any floating type.
        wanted: (B, bins, frames).
        frames: (B,) int64, frames that are not padding.

    Returns:
        The sum over the bins of valid frames and their number (bins times frames), float32.

    Raises:
        ValueError: if the shapes differ.
    """
    difference, count = _difference(said, wanted, frames)
    return Summed(difference.square().sum(), count)


def _difference(said: Tensor, wanted: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    require_same_shape(said, wanted)
    valid = places(frames, said.shape[2])
    difference = (said.float() - wanted.float()).masked_fill(~valid[:, None], 0.0)
    return difference, valid.sum().float() * said.shape[1]
