"""Losses against the labels of a corpus; items whose label is IGNORE do not count."""

from torch import Tensor
from torch.nn import functional

from kd_lightning.losses.summed import Summed

IGNORE = -100


def cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Summed:
    """Cross-entropy with label smoothing: -sum_c q_c log softmax(logits)_c, q = (1 - s) one_hot + s / C.

    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016.

    Args:
        logits: (B, C) of any floating type.
        labels: (B,) int64, IGNORE where unknown.
        smoothing: s in [0, 1].

    Returns:
        The sum over labelled items and their count, float32.
    """
    total = functional.cross_entropy(
        logits.float(), labels, ignore_index=IGNORE, label_smoothing=smoothing, reduction="sum"
    )
    return Summed(total, (labels != IGNORE).sum().float())


def binary_cross_entropy(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Summed:
    """One-vs-rest: the mean over classes of -q log sigmoid(z) - (1 - q) log sigmoid(-z).

    Args:
        logits: (B, C) of any floating type.
        labels: (B,) int64, IGNORE where unknown.
        smoothing: s in [0, 1]; q = (1 - s) one_hot + s / C, the same targets as in the cross-entropy.

    Returns:
        The sum over labelled items and their count, float32.
    """
    labelled = labels != IGNORE
    classes = logits.shape[-1]
    one_hot = functional.one_hot(labels.where(labelled, 0), classes).float()
    targets = (1 - smoothing) * one_hot + smoothing / classes
    losses = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none").mean(
        dim=-1
    )
    return Summed(losses.masked_fill(~labelled, 0.0).sum(), labelled.sum().float())
