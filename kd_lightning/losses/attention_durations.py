"""Attention where known durations say that each token is spoken."""

import torch
from torch import Tensor

from kd_lightning.losses.lengths import places
from kd_lightning.losses.summed import Summed

# The logarithm of a weight that has underflowed is that of this: a larger bound would take the gradient away from the
# tokens that the decoder is most wrong about.
TINY = torch.finfo(torch.float32).tiny


def attention_cross_entropy(
    attention: Tensor, durations: Tensor, frames: Tensor, frames_per_step: int
) -> Summed:
    """-ln A of the token that is spoken in the middle of each step.

    Args:
        attention: (B, S, U) of the decoder over the tokens, of any floating type; the sum of a row is 1.
        durations: (B, U) int64, frames of each token, that sum to ``frames``.
        frames: (B,) int64, frames that are not padding.
        frames_per_step: of the decoder.

    Returns:
        The sum over valid steps and their number, float32.
    """
    spoken = spoken_tokens(durations, frames, frames_per_step, attention.shape[1])
    weights = attention.float().gather(2, spoken.unsqueeze(2)).squeeze(2)
    valid = places((frames + frames_per_step - 1) // frames_per_step, attention.shape[1])
    return Summed(-weights.clamp(min=TINY).log().where(valid, 0.0).sum(), valid.sum().float())


def spoken_tokens(durations: Tensor, frames: Tensor, frames_per_step: int, steps: int) -> Tensor:
    """The token that is spoken in the middle of each step, or of what is left of the utterance at its last.

    Where a token ends in the very middle, it is the next. Tokens without a frame are never spoken.

    Args:
        durations: (B, U) int64, frames of each token, that sum to ``frames``.
        frames: (B,) int64, frames that are not padding.
        frames_per_step: of the decoder.
        steps: S of the padded batch.

    Returns:
        (B, S) int64; beyond the last step some token.
    """
    starts = torch.arange(steps, device=durations.device) * frames_per_step
    # Twice the middle, so that integers are exact.
    middles = starts + torch.minimum(starts + frames_per_step, frames[:, None])
    spoken = torch.searchsorted(2 * durations.cumsum(dim=1), middles, right=True)
    return spoken.clamp(max=durations.shape[1] - 1)
