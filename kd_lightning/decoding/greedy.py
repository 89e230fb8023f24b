"""The best path of CTC, collapsed (Graves et al. 2006): fast, and nearly as good as a beam without a language model."""

import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.decoding.hypothesis import Hypothesis
from kd_lightning.models.padding import frame_mask

BLANK = 0


@torch.no_grad()
def greedy(logits: Tensor, lengths: Tensor) -> list[Hypothesis]:
    """The most probable token of every frame, repeats merged, blanks removed.

    The score is that of the path. The confidence is the geometric mean of the path's probabilities over its frames
    that are not blank, exp(mean log p): blanks are nearly always sure and would hide doubt. Where all are blank it is
    the mean over all frames, and where there is no frame it is 0.

    Args:
        logits: (B, frames, V).
        lengths: (B,) int64, valid frames.

    Returns:
        one hypothesis an utterance.
    """
    log_probs, path = logits.float().log_softmax(dim=-1).max(dim=-1)
    valid = frame_mask(lengths, path.shape[1])
    log_probs = log_probs.masked_fill(~valid, 0.0)
    path = path.masked_fill(~valid, BLANK)
    spoken = path != BLANK
    emitted = spoken & (path != functional.pad(path, (1, 0), value=BLANK)[:, :-1])
    heard = torch.where(spoken.any(dim=1, keepdim=True), spoken, valid)
    mean = (log_probs * heard).sum(dim=1) / heard.sum(dim=1).clamp(min=1)
    confidence = mean.exp() * (lengths > 0)
    tokens = path[emitted].split(emitted.sum(dim=1).tolist())
    columns = (tokens, log_probs.sum(dim=1).tolist(), confidence.tolist())
    return [Hypothesis(one.tolist(), score, sure) for one, score, sure in zip(*columns, strict=True)]
