"""Connectionist temporal classification: transcripts without an alignment, token 0 is the blank.

Graves et al., "Connectionist Temporal Classification: Labelling Unsegmented Sequence Data with Recurrent Neural
Networks", ICML 2006.
"""

import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.losses.logits import soft_targets
from kd_lightning.losses.summed import Summed, require_same_shape


def ctc(logits: Tensor, frames: Tensor, tokens: Tensor, token_lengths: Tensor, labelled: Tensor) -> Summed:
    """-log p(transcript | utterance) over the number of its tokens, as torch's mean reduction.

    Utterances without a transcript do not count, nor do those whose transcript needs more frames than there are
    (:func:`too_long`): it has no path and would cost infinity.

    Args:
        logits: (B, frames, V) of any floating type.
        frames: (B,) int64, the valid frames of the logits.
        tokens: (B, U) int64 in [1, V), padded with 0.
        token_lengths: (B,) int64; an empty transcript is blank in each frame.
        labelled: (B,) bool, whether the transcript is known.

    Returns:
        The sum over the utterances that count and their number, float32.
    """
    counted = labelled & ~too_long(frames, tokens, token_lengths)
    # Who does not count gets an empty transcript: its loss is finite, so 0 times its gradient is 0.
    losses = functional.ctc_loss(
        logits.float().log_softmax(dim=-1).transpose(0, 1),
        tokens,
        frames,
        token_lengths.where(counted, 0),
        reduction="none",
    )
    per_token = losses / token_lengths.clamp(min=1)
    return Summed(per_token.where(counted, 0.0).sum(), counted.sum().float())


def too_long(frames: Tensor, tokens: Tensor, token_lengths: Tensor) -> Tensor:
    """Which transcripts no path of so many frames can spell: a frame for each token, and a blank between equal ones.

    Args:
        frames: (B,) int64, valid frames of an output.
        tokens: (B, U) int64, padded.
        token_lengths: (B,) int64.

    Returns:
        (B,) bool.
    """
    places = torch.arange(1, max(1, tokens.shape[1]), device=tokens.device)
    repeats = (tokens[:, 1:] == tokens[:, :-1]) & (places < token_lengths[:, None])
    return token_lengths + repeats.sum(dim=1) > frames


def consistency(first: Tensor, second: Tensor, valid: Tensor) -> Summed:
    """(KL(sg(q) || p) + KL(sg(p) || q)) / 2 of each frame, with the posteriors p and q of two views, sg: no gradient.

    Yao et al., "CR-CTC: Consistency regularization on CTC for improved speech recognition", ICLR 2025. Both views are
    of one utterance and differ in their masks. The paper adds its sum over the frames, times 0.2, to half the CTC of
    both views. Here the mean over frames is added to CTC over tokens: the same weight is 0.2 times a token's frames.

    Args:
        first: logits (B, frames, V) of any floating type.
        second: of the same shape, of the other view.
        valid: (B, frames) bool, false for padding.

    Returns:
        The sum over valid frames and their number, float32.

    Raises:
        ValueError: if the shapes differ.
    """
    require_same_shape(first, second)
    ours, theirs = first[valid], second[valid]
    forth = soft_targets(ours, theirs.detach(), temperature=1.0)
    back = soft_targets(theirs, ours.detach(), temperature=1.0)
    return Summed((forth.sum + back.sum) / 2, forth.count)
