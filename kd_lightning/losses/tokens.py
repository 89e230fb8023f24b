"""Losses of an attention decoder's next tokens."""

import torch
from torch import Tensor

from kd_lightning.losses.labels import IGNORE, cross_entropy
from kd_lightning.losses.summed import Summed

# Ends the sentence.
END = 0


def next_token_cross_entropy(
    token_logits: Tensor, tokens: Tensor, lengths: Tensor, labelled: Tensor, smoothing: float = 0.0
) -> Summed:
    """Cross-entropy with label smoothing of y1, ..., yU and the end, each after the true tokens before it.

    Args:
        token_logits: (B, U + 1, V) of any floating type, after each of the tokens 0, y1, ..., yU.
        tokens: (B, U) int64, y1 to yU, padded with 0.
        lengths: (B,) int64, valid tokens, at most U.
        labelled: (B,) bool, whether an utterance's transcript is known.
        smoothing: share of a target that is spread evenly over all V tokens (Szegedy et al. 2016), in [0, 1].

    Returns:
        The sum over tokens, ends included, of labelled utterances, and their count, float32.
    """
    targets = torch.cat((tokens, tokens.new_zeros(len(tokens), 1)), dim=1)
    places = torch.arange(targets.shape[1], device=tokens.device)
    targets = targets.masked_fill(places == lengths[:, None], END)
    counts = (places <= lengths[:, None]) & labelled[:, None]
    return cross_entropy(token_logits.flatten(0, 1), targets.where(counts, IGNORE).flatten(), smoothing)
