"""Logits as they are stored: all of them, or the k largest log-probabilities and what is left for the others."""

from collections.abc import Mapping

import torch
from torch import Tensor

LOGITS = "logits"
INDICES, LOG_PROBABILITIES, TAIL = "indices", "log_probabilities", "tail"


def encode(logits: Tensor, top_k: int | None, dtype: torch.dtype) -> dict[str, Tensor]:
    """Logits (N, C) as the tensors that are stored.

    Args:
        logits: (N, C) float32.
        top_k: how many log-probabilities to keep, below C; ``None`` for all logits.
        dtype: of what is stored.

    Returns:
        ``logits`` (N, C); or ``log_probabilities`` (N, k) of the classes ``indices`` (N, k) int16, and ``tail`` (N,),
        the logarithm of the mass that the other classes have together. In probabilities float16 would lose it.
    """
    if top_k is None:
        return {LOGITS: logits.to(dtype)}
    log_probabilities = logits.float().log_softmax(dim=1)
    largest, indices = log_probabilities.topk(top_k, dim=1)
    tail = log_probabilities.scatter(1, indices, float("-inf")).logsumexp(dim=1)
    return {LOG_PROBABILITIES: largest.to(dtype), INDICES: indices.to(torch.int16), TAIL: tail.to(dtype)}


def decode(stored: Mapping[str, Tensor], classes: int) -> Tensor:
    """Logits (N, C) float32 of what :func:`encode` made of them.

    Of the top k they are log-probabilities, in which the other classes share the tail evenly: the same softmax as the
    teacher's at every temperature but for the tail, and another sum.
    """
    if LOGITS in stored:
        return stored[LOGITS].float()
    indices, tail = stored[INDICES].long(), stored[TAIL].float()
    share = (tail - torch.tensor(classes - indices.shape[1]).log()).unsqueeze(1)
    return share.expand(-1, classes).scatter(1, indices, stored[LOG_PROBABILITIES].float())
