"""Padding of ragged batches: what lies beyond an utterance's end must not change what is said of it."""

import torch
from torch import Tensor


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Which frames belong to the utterances: (B, frames) bool.

    Args:
        lengths: (B,) int64, valid frames.
        frames: of the padded batch.
    """
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def without_padding(activation: Tensor, lengths: Tensor) -> Tensor:
    """Zero what lies beyond each utterance's end, as the padding of a convolution is zero.

    Args:
        activation: (B, C, frames) or (B, C, bands, frames).
        lengths: (B,) int64, valid frames.
    """
    mask = frame_mask(lengths, activation.shape[-1])
    return activation * mask.view(len(lengths), *(1,) * (activation.ndim - 2), -1)
