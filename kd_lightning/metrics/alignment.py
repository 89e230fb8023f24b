"""Does a decoder attend to one token after the other?"""

import torch
from torch import Tensor

# A token that never has this share of a step's weight was not spoken. It need not be the largest: a decoder with long
# steps speaks several short tokens in one.
SPOKEN = 0.1


def focus_rate(attention: Tensor, steps: Tensor) -> Tensor:
    """The mean over the steps of the largest weight: near 1 where each step attends to one token.

    Ren et al., "FastSpeech: Fast, Robust and Controllable Text to Speech", NeurIPS 2019, section 3.3.

    Args:
        attention: (B, S, U) of a decoder over the tokens; the sum of a row is 1.
        steps: (B,) int64, steps that are not padding.

    Returns:
        (B,) float32 in [0, 1]; 0 without a step.
    """
    largest = attention.float().amax(dim=2).where(_valid(steps, attention.shape[1]), 0.0)
    return largest.sum(dim=1) / steps.clamp(min=1)


def skipped_tokens(attention: Tensor, steps: Tensor, tokens: Tensor) -> Tensor:
    """How many tokens hold less than a tenth of the weight of every step.

    Args:
        attention: (B, S, U) of a decoder over the tokens; the sum of a row is 1.
        steps: (B,) int64, steps that are not padding.
        tokens: (B,) int64, tokens that are not padding.

    Returns:
        (B,) int64.
    """
    valid = _valid(steps, attention.shape[1])
    largest = attention.float().where(valid[:, :, None], 0.0).amax(dim=1)
    return ((largest < SPOKEN) & _valid(tokens, attention.shape[2])).sum(dim=1)


def repeated_tokens(attention: Tensor, steps: Tensor) -> Tensor:
    """How often attention goes back: in how many steps the largest weight is on an earlier token than the step before.

    Args:
        attention: (B, S, U) of a decoder over the tokens.
        steps: (B,) int64, steps that are not padding.

    Returns:
        (B,) int64.
    """
    attended = attention.argmax(dim=2)
    back = attended[:, 1:] < attended[:, :-1]
    return (back & _valid(steps - 1, back.shape[1])).sum(dim=1)


def _valid(lengths: Tensor, size: int) -> Tensor:
    return torch.arange(size, device=lengths.device) < lengths[:, None]
