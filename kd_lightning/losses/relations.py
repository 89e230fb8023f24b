"""Losses between the relations of the items in a batch: how far apart, at which angles, how alike.

The networks' channels need not match. Relations are those inside the batch of one rank: two ranks with half of the
batch each have fewer of them than one process with the whole.
"""

import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.losses.summed import Summed

# A vector shorter than this has no direction: dividing by its length would only blow up the gradient.
_TINY = 1e-6


def distances(student: Tensor, teacher: Tensor) -> Summed:
    """Huber loss (delta 1) between the distances of each pair of items, over their mean in the batch.

    Park et al., "Relational Knowledge Distillation", CVPR 2019, eq. 5 to 8.

    Args:
        student: (B, ...) of any floating type, flattened: embeddings, logits or activations.
        teacher: (B, ...), may have other sizes after B.

    Returns:
        The sum over pairs and their number B (B - 1) / 2, float32.

    Raises:
        ValueError: if the batches differ.
    """
    ours, theirs = _rows(student, teacher)
    total = functional.huber_loss(_relative_distances(ours), _relative_distances(theirs), reduction="sum")
    items = len(ours)
    return Summed(total, total.new_full((), items * (items - 1) / 2))


def angles(student: Tensor, teacher: Tensor) -> Summed:
    """Huber loss (delta 1) between the cosines of the angles at j of each triplet i, j, k.

    Park et al. 2019, eq. 9 to 11. Needs B^3 numbers: 0.5 GB for a batch of 512.

    Args:
        student: (B, ...) of any floating type, flattened: embeddings, logits or activations.
        teacher: (B, ...), may have other sizes after B.

    Returns:
        The sum over triplets of three items and their number B (B - 1) (B - 2) / 2, float32.

    Raises:
        ValueError: if the batches differ.
    """
    ours, theirs = _rows(student, teacher)
    losses = functional.huber_loss(_cosines(ours), _cosines(theirs), reduction="none")
    # i < k; where i or k is j itself both cosines are 0.
    total = losses.triu(diagonal=1).sum()
    items = len(ours)
    return Summed(total, total.new_full((), items * (items - 1) * (items - 2) / 2))


def similarities(student: Tensor, teacher: Tensor) -> Summed:
    """Squared distance between the rows of both similarity matrices A A^T, each row of length 1.

    Tung & Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, eq. 1 to 4. Their loss is this mean over B,
    with a weight of 3000; here the weight does not depend on the size of the batch.

    Args:
        student: (B, ...) of any floating type, flattened.
        teacher: (B, ...), may have other sizes after B.

    Returns:
        The sum over the batch and B, or 0 for one item, which is like nothing else; float32.

    Raises:
        ValueError: if the batches differ.
    """
    ours, theirs = _rows(student, teacher)
    difference = _directions(_products(ours)) - _directions(_products(theirs))
    total = difference.square().sum()
    items = len(ours)
    return Summed(total, total.new_full((), items if items > 1 else 0))


def _rows(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    if len(student) != len(teacher):
        raise ValueError(
            f"the student's output is of {len(student)} items and the teacher's of {len(teacher)}: relations "
            "are compared inside one batch"
        )
    return student.float().flatten(start_dim=1), teacher.float().flatten(start_dim=1)


def _relative_distances(items: Tensor) -> Tensor:
    """Distances of all pairs i < j (B (B - 1) / 2,), over their mean."""
    first, second = torch.triu_indices(len(items), len(items), offset=1, device=items.device)
    length = torch.linalg.vector_norm(items[first] - items[second], dim=1)
    return length / (length.sum() / max(1, len(length))).clamp(min=_TINY)


def _cosines(items: Tensor) -> Tensor:
    """cos of the angle at j between i and k, (B, B, B) in the order j, i, k; 0 where an edge has no length."""
    return _products(_directions(items.unsqueeze(0) - items.unsqueeze(1)))


def _products(vectors: Tensor) -> Tensor:
    """All dot products (..., N, N) of vectors (..., N, D), in float32 under autocast too."""
    with torch.autocast(vectors.device.type, enabled=False):
        return vectors @ vectors.transpose(-1, -2)


def _directions(vectors: Tensor) -> Tensor:
    """Vectors (..., D) of length 1; those without a direction as they are."""
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors / length.masked_fill(length < _TINY, 1.0)
