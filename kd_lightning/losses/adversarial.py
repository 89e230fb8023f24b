"""Losses of a vocoder against discriminators, and of the discriminators themselves.

Kong et al., "HiFi-GAN: Generative Adversarial Networks for Efficient and High Fidelity Speech Synthesis", NeurIPS 2020.
An item's loss is averaged over a discriminator's scores of it, or a layer's activations, then summed over
discriminators or layers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from kd_lightning.losses.summed import Summed, over_batch, require_same_shape


def least_squares_discriminator(recorded: Sequence[Tensor], said: Sequence[Tensor]) -> Summed:
    """(D(recorded) - 1)^2 + D(said)^2: recordings are to score 1, and what the vocoder says 0.

    Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017; HiFi-GAN's eq. 1.

    Args:
        recorded: (B, ...) scores of recordings by each discriminator, of any floating type.
        said: (B, ...) scores of what the vocoder says; detached from it by whoever calls.

    Returns:
        The sum over the batch and B, float32.
    """
    errors = [
        _mean((theirs.float() - 1).square()) + _mean(ours.float().square())
        for theirs, ours in zip(recorded, said, strict=True)
    ]
    return over_batch(torch.stack(errors).sum(dim=0))


def least_squares_generator(said: Sequence[Tensor]) -> Summed:
    """(D(said) - 1)^2: the vocoder is to be taken for a recording; HiFi-GAN's eq. 2.

    Args:
        said: (B, ...) scores of what the vocoder says by each discriminator, of any floating type.

    Returns:
        The sum over the batch and B, float32.
    """
    return over_batch(torch.stack([_mean((scores.float() - 1).square()) for scores in said]).sum(dim=0))


def feature_matching(said: Sequence[Tensor], recorded: Sequence[Tensor]) -> Summed:
    """Mean absolute error of each layer's activations; HiFi-GAN's eq. 5.

    Args:
        said: (B, ...) activations of each layer on what the vocoder says, of any floating type.
        recorded: the same of the recordings.

    Returns:
        The sum over the batch and B, float32.

    Raises:
        ValueError: if a layer's shapes differ.
    """
    errors = []
    for ours, theirs in zip(said, recorded, strict=True):
        require_same_shape(ours, theirs)
        errors.append(_mean((ours.float() - theirs.float()).abs()))
    return over_batch(torch.stack(errors).sum(dim=0))


def _mean(values: Tensor) -> Tensor:
    """Mean (B,) of (B, ...)."""
    return values.flatten(start_dim=1).mean(dim=1)
