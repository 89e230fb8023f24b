"""How long, how high and how loud each token is."""

from torch import Tensor

from kd_lightning.losses.lengths import places
from kd_lightning.losses.summed import Summed, require_same_shape


def duration_error(said: Tensor, durations: Tensor, tokens: Tensor) -> Summed:
    """(said - ln(1 + durations))^2: a token that is twice too long costs as much as one that is half too short.

    Ren et al., "FastSpeech: Fast, Robust and Controllable Text to Speech", NeurIPS 2019, section 3.3, with 1 added so
    that a token may have no frame.

    Args:
        said: (B, U) ln(1 + frames) of each token, of any floating type.
        durations: (B, U) int64, frames of each token.
        tokens: (B,) int64, tokens that are not padding.

    Returns:
        The sum over valid tokens and their number, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    return token_error(said, durations.float().log1p(), tokens)


def token_error(said: Tensor, wanted: Tensor, tokens: Tensor) -> Summed:
    """(said - wanted)^2 of each token: of pitch or energy.

    Ren et al., "FastSpeech 2: Fast and High-Quality End-to-End Text to Speech", ICLR 2021.

    Args:
        said: (B, U) of any floating type.
        wanted: (B, U).
        tokens: (B,) int64, tokens that are not padding.

    Returns:
        The sum over valid tokens and their number, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(said, wanted)
    valid = places(tokens, said.shape[1])
    difference = (said.float() - wanted.float()).masked_fill(~valid, 0.0)
    return Summed(difference.square().sum(), valid.sum().float())
