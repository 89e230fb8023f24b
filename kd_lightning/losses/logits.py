"""Losses against a teacher's logits; every item counts, labelled or not."""

import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.losses.labels import cross_entropy
from kd_lightning.losses.summed import Summed, over_batch, require_same_shape

# Added to the variance of standardised logits: bounds the gradient of a network whose logits are all alike.
EPSILON = 1e-6


def soft_targets(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Summed:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)).

    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015. The gradient of the KL shrinks as
    1 / T^2; the factor keeps it the size of a hard label's, so the weight of the term does not depend on T.

    Args:
        student: logits (B, C) of any floating type.
        teacher: logits (B, C).
        temperature: T > 0.

    Returns:
        The sum over the batch and B, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(student, teacher)
    ours, theirs = _log_probabilities(student, temperature), _log_probabilities(teacher, temperature)
    return over_batch(temperature**2 * _divergence(ours, theirs))


def decoupled(
    student: Tensor,
    teacher: Tensor,
    target: Tensor,
    alpha: float = 1.0,
    beta: float = 2.0,
    temperature: float = 4.0,
) -> Summed:
    """T^2 (alpha TCKD + beta NCKD): soft targets split into the target class and the others.

    Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022, eq. 7. TCKD is the KL divergence between (p_t, 1 - p_t),
    how sure both are of the target t; NCKD that between the other classes among themselves. Soft targets are TCKD +
    (1 - p_t) NCKD with the teacher's p_t, so they say little about the other classes where the teacher is sure. The
    paper goes up to beta = 8, which lost accuracy on small keyword sets: start at 2 or less.

    Args:
        student: logits (B, C) of any floating type.
        teacher: logits (B, C).
        target: (B,) int64, the class t of each item.
        alpha: weight of TCKD.
        beta: weight of NCKD.
        temperature: T > 0.

    Returns:
        The sum over the batch and B, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(student, teacher)
    ours, theirs = _log_probabilities(student, temperature), _log_probabilities(teacher, temperature)
    target_class = _divergence(_target_or_not(ours, target), _target_or_not(theirs, target))
    others = _divergence(
        functional.log_softmax(_without(ours, target), dim=-1),
        functional.log_softmax(_without(theirs, target), dim=-1),
    )
    return over_batch(temperature**2 * (alpha * target_class + beta * others))


def standardised_logits(student: Tensor, teacher: Tensor, temperature: float = 2.0) -> Summed:
    """Soft targets of z-scored logits: each row minus its mean, over its standard deviation.

    Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024. The student learns how the
    teacher ranks and spaces the classes, not how large its logits are, which a small network cannot match.

    Args:
        student: logits (B, C) of any floating type.
        teacher: logits (B, C).
        temperature: T > 0, of the standardised logits.

    Returns:
        The sum over the batch and B, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(student, teacher)
    return soft_targets(_standardise(student), _standardise(teacher), temperature)


def mean_squared_error(student: Tensor, teacher: Tensor) -> Summed:
    """Mean over classes of (student - teacher)^2.

    Ba & Caruana, "Do Deep Nets Really Need to be Deep?", 2014.

    Args:
        student: logits (B, C) of any floating type.
        teacher: logits (B, C).

    Returns:
        The sum over the batch and B, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(student, teacher)
    return over_batch((student.float() - teacher.float()).square().mean(dim=-1))


def hard_labels(student: Tensor, teacher: Tensor) -> Summed:
    """Cross-entropy with the teacher's most likely class as the label.

    Args:
        student: logits (B, C) of any floating type.
        teacher: logits (B, C).

    Returns:
        The sum over the batch and B, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(student, teacher)
    return cross_entropy(student, teacher.argmax(dim=-1))


def _log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    return functional.log_softmax(logits.float() / temperature, dim=-1)


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    """KL(theirs || ours) of log-probabilities (B, C), an item each."""
    return functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1)


def _without(values: Tensor, target: Tensor) -> Tensor:
    """The columns of (B, C) but each row's target, (B, C - 1)."""
    columns = torch.arange(values.shape[1] - 1, device=values.device)
    return values.gather(1, columns + (columns >= target.unsqueeze(1)).long())


def _target_or_not(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """(log p_t, log (1 - p_t)), (B, 2)."""
    of_target = log_probabilities.gather(1, target.unsqueeze(1))
    return torch.cat([of_target, _without(log_probabilities, target).logsumexp(dim=1, keepdim=True)], dim=1)


def _standardise(logits: Tensor) -> Tensor:
    # Layer normalisation without weights is the z-score with the population's variance.
    return functional.layer_norm(logits.float(), logits.shape[-1:], eps=EPSILON)
