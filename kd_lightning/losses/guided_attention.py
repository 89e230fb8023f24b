"""Guided attention: a sentence is read from its beginning to its end at a nearly constant pace."""

import torch
from torch import Tensor

from kd_lightning.losses.lengths import places
from kd_lightning.losses.summed import Summed


def guided_attention(attention: Tensor, tokens: Tensor, steps: Tensor, width: float = 0.2) -> Summed:
    """A_su W_su with W_su = 1 - exp(-(u / U - s / S)^2 / (2 g^2)).

    Tachibana et al., "Efficiently Trainable Text-to-Speech System Based on Deep Convolutional Networks with Guided
    Attention", ICASSP 2018, section 4: the mean is over steps and tokens, so it is at most 1 / U.

    Args:
        attention: (B, S, U) of the decoder over the tokens, of any floating type; the sum of a row is 1.
        tokens: (B,) int64, tokens that are not padding.
        steps: (B,) int64, steps that are not padding.
        width: g; attention g of a sentence off the diagonal costs 0.39 of its weight.

    Returns:
        The sum over the valid rows and columns and their number, float32.
    """
    valid = places(steps, attention.shape[1])[:, :, None] & places(tokens, attention.shape[2])[:, None]
    read = torch.arange(attention.shape[2], device=tokens.device) / tokens.clamp(min=1)[:, None]
    spoken = torch.arange(attention.shape[1], device=steps.device) / steps.clamp(min=1)[:, None]
    far = 1 - torch.exp(-(read[:, None] - spoken[:, :, None]).square() / (2 * width**2))
    return Summed((attention.float() * far).where(valid, 0.0).sum(), valid.sum().float())
