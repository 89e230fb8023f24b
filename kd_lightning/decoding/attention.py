"""Greedy and beam search for attention decoders (Sutskever et al. 2014): one token after the other, until they end."""

from typing import Protocol

import torch
from torch import Tensor

from kd_lightning.decoding.hypothesis import Hypothesis

END = 0  # the token that starts a sentence ends it too


class AttentionNetwork(Protocol):
    """A network with an attention decoder. It may have ``max_positions``, the most tokens it says, the end counted."""

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Memory (B, frames, D) and its valid frames (B,) int64, of features (B, bins, frames) and theirs."""

    def score_next(self, memory: Tensor, lengths: Tensor, prefix: Tensor) -> Tensor:
        """Logits (B, V) of the token after each prefix (B, U), which holds no start; U may be 0."""


@torch.no_grad()
def search(
    network: AttentionNetwork,
    features: Tensor,
    lengths: Tensor,
    beam: int = 1,
    length_exponent: float = 0.0,
    tokens_per_frame: float = 2.0,
) -> list[list[Hypothesis]]:
    """Sentences of each utterance, the best first. A beam of 1 is greedy search.

    A decoder may go on for ever, saying the same words again. So an utterance may have ``tokens_per_frame`` tokens for
    each frame of the encoder (and no more than the network has positions), its end counted; a hypothesis that is cut
    off there has ``ended=False`` and comes after those that ended. The limit is the utterance's own, whatever else is
    in the batch.

    The score is log p(y|x), the end included; the confidence is its geometric mean over the tokens and the end.

    Args:
        network: in eval mode.
        features: (B, bins, frames).
        lengths: (B,) int64, valid frames of the features.
        beam: hypotheses kept after each token.
        length_exponent: hypotheses are ranked by score / n^length_exponent, n the tokens and the end; 0 favours short
            ones, 1 compares means.
        tokens_per_frame: bound on the length.

    Returns:
        up to ``beam`` hypotheses an utterance.
    """
    memory, frames = network.encode(features, lengths)
    limits = (
        (frames * tokens_per_frame).ceil().long().clamp(min=1, max=getattr(network, "max_positions", None))
    )
    count = len(frames)
    memory, frames = memory.repeat_interleave(beam, dim=0), frames.repeat_interleave(beam, dim=0)
    first_row = torch.arange(count, device=memory.device)[:, None] * beam
    prefix = frames.new_zeros(count * beam, 0)
    # All hypotheses of an utterance start as the empty sentence: only the first of them counts.
    scores = torch.full((count, beam), -torch.inf, device=memory.device)
    scores[:, 0] = 0.0
    running, ended = scores > -torch.inf, torch.zeros_like(scores, dtype=torch.bool)
    while running.any():
        rows = running.flatten()
        spoken = network.score_next(memory[rows], frames[rows], prefix[rows]).float().log_softmax(dim=-1)
        # Where nothing runs any more only the end may follow, at no cost.
        following = spoken.new_full((count * beam, spoken.shape[1]), -torch.inf)
        following[:, END] = 0.0
        following[rows] = spoken
        totals = scores.flatten()[:, None] + following
        scores, chosen = totals.view(count, -1).topk(beam, dim=1)
        parent, token = chosen // spoken.shape[1], chosen % spoken.shape[1]
        prefix = torch.cat([prefix[(first_row + parent).flatten()], token.view(-1, 1)], dim=1)
        running = running.gather(1, parent) & (scores > -torch.inf)
        ended = ended.gather(1, parent) | (running & (token == END))
        running &= (token != END) & (prefix.shape[1] < limits[:, None])
    sentences = prefix.view(count, beam, -1)
    return [
        _ranked(*columns, length_exponent)
        for columns in zip(sentences.tolist(), scores.tolist(), ended.tolist(), strict=True)
    ]


def _ranked(
    sentences: list[list[int]], scores: list[float], ended: list[bool], length_exponent: float
) -> list[Hypothesis]:
    ranked = []
    for sentence, score, end in zip(sentences, scores, ended, strict=True):
        if score == -torch.inf:
            continue
        tokens = sentence[: sentence.index(END)] if END in sentence else sentence
        steps = len(tokens) + end
        confidence = float(torch.tensor(score / steps).exp())
        ranked.append((not end, -score / steps**length_exponent, Hypothesis(tokens, score, confidence, end)))
    return [hypothesis for *_, hypothesis in sorted(ranked)]
