"""How well a decoder knows the next token, from sums over batches and ranks."""

import torch
from torch import Tensor
from torchmetrics import Metric

from kd_lightning.losses.tokens import next_token_cross_entropy


class TokenPerplexity(Metric):
    """exp of the mean negative log-probability of each token and of the end, after the true tokens before it.

    A decoder that knows nothing has as many as there are tokens, and one that knows all has 1.
    """

    full_state_update = False
    surprise: Tensor
    tokens: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("surprise", "tokens"):
            self.add_state(name, torch.zeros(()), dist_reduce_fx="sum")

    def update(self, token_logits: Tensor, tokens: Tensor, lengths: Tensor) -> None:
        """Count a batch.

        Args:
            token_logits: (B, U + 1, V), after each of the tokens 0, y1, ..., yU.
            tokens: (B, U) int64, y1 to yU, padded with 0.
            lengths: (B,) int64, valid tokens.
        """
        summed = next_token_cross_entropy(token_logits, tokens, lengths, torch.ones_like(lengths).bool())
        self.surprise += summed.sum
        self.tokens += summed.count

    def compute(self) -> Tensor:
        """A float32 scalar."""
        return (self.surprise / self.tokens).exp()
