"""Gates: which items of a batch a transfer term learns from.

A gate is a pure function ``(labels (B,), the teacher's logits (B, C)) -> (B,) bool``. Any transfer term takes one::

    gate:
      _target_: kd_lightning.distillers.gates.confidence
      _partial_: true
      threshold: 0.8
"""

from torch import Tensor

from kd_lightning.losses.labels import IGNORE


def teacher_correct(labels: Tensor, logits: Tensor) -> Tensor:
    """Drop the items whose visible label is not the teacher's first choice. Items with a hidden label stay.

    Args:
        labels: (B,) int64, ``IGNORE`` where hidden.
        logits: the teacher's (B, C).
    """
    return (labels == IGNORE) | (logits.argmax(dim=-1) == labels)


def confidence(labels: Tensor, logits: Tensor, threshold: float = 0.8) -> Tensor:
    """Keep the items of which the teacher is sure: its largest probability is at least ``threshold``.

    Args:
        labels: (B,), not looked at.
        logits: the teacher's (B, C).
        threshold: in [0, 1]; 0 keeps all.
    """
    return logits.float().softmax(dim=-1).amax(dim=-1) >= threshold
