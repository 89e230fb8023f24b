"""The length regulator of feed-forward synthesis: from tokens to frames.

Ren et al., "FastSpeech: Fast, Robust and Controllable Text to Speech", NeurIPS 2019, section 3.2.
"""

import torch
from torch import Tensor


def regulate(encoded: Tensor, durations: Tensor, frames: int | None = None) -> Tensor:
    """Repeat each token for as many frames as it lasts.

    Frame t belongs to the token before which, and in which, no more than t frames end: a comparison with the
    cumulative sums of the durations, without a loop, so that it can be exported.

    Args:
        encoded: (B, U, D).
        durations: (B, U) int64, frames of each token, 0 for padding.
        frames: of the padded batch; ``None`` for those of its longest utterance.

    Returns:
        (B, frames, D), zero beyond each utterance's last token.
    """
    ends = durations.cumsum(dim=1)
    if frames is None:
        frames = int(ends[:, -1].max())
    places = torch.arange(frames, device=ends.device)
    ended = places[:, None] >= ends[:, None]  # (B, frames, U)
    tokens = ended.sum(dim=2).clamp(max=encoded.shape[1] - 1)
    repeated = encoded.gather(1, tokens[..., None].expand(-1, -1, encoded.shape[2]))
    return repeated * ~ended[..., -1:]
