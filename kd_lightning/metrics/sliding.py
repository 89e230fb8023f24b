"""A keyword network over audio of any length: its window slides, the audio comes in pieces."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


@torch.inference_mode()
def sliding_posteriors(
    model: nn.Module, pieces: Iterable[NDArray[np.float32]], window: int, hop: int, batch_size: int = 256
) -> NDArray[np.float32]:
    """Posteriors of the classes in every window.

    Args:
        model: maps (B, window) waveforms to an output with ``logits`` (B, C); in eval mode, on any device.
        pieces: the audio, (T_i,) float32 each; how it is cut does not matter.
        window: length of what the network hears, in samples.
        hop: from one window to the next, in samples.
        batch_size: windows that run together.

    Returns:
        (N, C); row n hears the samples from n * hop to n * hop + window. What follows the last whole window is left
        out.

    Raises:
        ValueError: the hop is longer than the window, or the audio shorter than one.
    """
    if not 0 < hop <= window:
        raise ValueError(f"a hop of {hop} samples is not between 1 and the window's {window}")
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    rest = np.zeros(0, np.float32)
    rows = []
    for piece in pieces:
        audio = np.concatenate([rest, piece])
        count = max(0, (len(audio) - window) // hop + 1)
        if count:
            for batch in torch.from_numpy(audio).unfold(0, window, hop).split(batch_size):
                rows.append(model(batch.to(device)).logits.float().softmax(dim=1).cpu().numpy())
        rest = audio[count * hop :]
    if not rows:
        raise ValueError(f"the audio is shorter than one window of {window} samples")
    return np.concatenate(rows)
