"""Losses against a teacher's logits; every item counts, labelled or not."""

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
    ours = functional.log_softmax(student.float() / temperature, dim=-1)
    theirs = functional.log_softmax(teacher.float() / temperature, dim=-1)
    divergence = functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=-1)
    return over_batch(temperature**2 * divergence)


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


def _standardise(logits: Tensor) -> Tensor:
    # Layer normalisation without weights is the z-score with the population's variance.
    return functional.layer_norm(logits.float(), logits.shape[-1:], eps=EPSILON)
