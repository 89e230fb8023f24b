"""Which places of a padded batch count."""

import torch
from torch import Tensor


def places(lengths: Tensor, size: int) -> Tensor:
    """Whether a place belongs to the item: (B, size) bool.

    Args:
        lengths: (B,) int64, valid places.
        size: of the padded batch.
    """
    return torch.arange(size, device=lengths.device) < lengths[:, None]
