"""When a decoder has to stop."""

import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.losses.lengths import places
from kd_lightning.losses.summed import Summed


def stop_cross_entropy(logits: Tensor, steps: Tensor, positive_weight: float = 1.0) -> Summed:
    """Binary cross-entropy of "the utterance ends with this step": 1 at the last step, 0 before.

    Shen et al., "Natural TTS Synthesis by Conditioning WaveNet on Mel Spectrogram Predictions" (Tacotron 2), ICASSP
    2018. What a decoder says beyond its last step does not count: it has stopped there.

    Args:
        logits: (B, S) of any floating type.
        steps: (B,) int64, steps that are not padding.
        positive_weight: of the last step; one step in hundreds is the last.

    Returns:
        The sum over valid steps and their number, float32.
    """
    valid = places(steps, logits.shape[1])
    last = torch.arange(logits.shape[1], device=logits.device) == steps[:, None] - 1
    losses = functional.binary_cross_entropy_with_logits(
        logits.float(),
        last.float(),
        reduction="none",
        pos_weight=torch.tensor(positive_weight, device=logits.device),
    )
    return Summed(losses.where(valid, 0.0).sum(), valid.sum().float())
