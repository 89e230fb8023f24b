"""Keyword Transformer: self-attention over the frames of a clip, and nothing else.

Berg, O'Connor & Cruz, "Keyword Transformer: A Self-Attention Model for Keyword Spotting", Interspeech 2021. Each frame
is a token beside a class token; the distillation token is that of Touvron et al., "Training data-efficient image
transformers & distillation through attention" (DeiT), ICML 2021.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.models.waveform_model import KeywordOutput


class KeywordTransformer(nn.Module):
    """KWT for clips of a fixed length.

    Unlike the paper's, it normalises each feature by a BatchNorm first: the first cepstral coefficient is ten times the
    others. That adds two parameters a bin.

    Args:
        bins: number of feature bins (40 MFCC in the paper).
        classes: number of classes C.
        width: size D of a token (64, 128 and 192 in KWT-1, -2 and -3).
        heads: of the attention (1, 2 and 3).
        inner: size of the layer inside a block's perceptron, four times the width.
        depth: number of blocks.
        frames: of every clip, as each has a learned position: the frontend gives 101 for a second at its hop of 10 ms
            (98 in the paper, which does not pad the edges).
        dropout: probability that a value of a block's attention or perceptron is dropped (0 in the paper).
        distillation: whether a second token with a head of its own learns from the teacher.

    Raises:
        ValueError: if the width is not a multiple of the heads.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        width: int = 64,
        heads: int = 1,
        inner: int = 256,
        depth: int = 12,
        frames: int = 101,
        dropout: float = 0.0,
        distillation: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(
                f"KWT of width {width} with {heads} heads: set a width that is a multiple of heads"
            )
        self.frames = frames
        tokens = 2 if distillation else 1
        self.norm = nn.BatchNorm1d(bins)
        self.embedding = nn.Linear(bins, width)
        self.tokens = nn.Parameter(torch.empty(tokens, width))
        self.positions = nn.Parameter(torch.empty(tokens + frames, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, inner, dropout) for _ in range(depth)))
        self.head = nn.Linear(width, classes)
        self.distillation_head = nn.Linear(width, classes) if distillation else None
        self._start()

    def forward(self, features: Tensor) -> KeywordOutput:
        """Classify features (B, bins, frames).

        Returns:
            logits (B, C). With a distillation token these are the class head's in training, where the other head's
            come as distillation_logits, and the average of both in evaluation.

        Raises:
            ValueError: if there are not as many frames as positions.
        """
        if features.shape[2] != self.frames:
            raise ValueError(
                f"KWT has positions for {self.frames} frames and was given {features.shape[2]}: "
                "set network.frames of this student or teacher to what its frontend gives"
            )
        embedded = self.embedding(self.norm(features).transpose(1, 2))
        tokens = self.tokens.expand(embedded.shape[0], -1, -1)
        hidden: Tensor = self.blocks(torch.cat((tokens, embedded), dim=1) + self.positions)
        logits = self.head(hidden[:, 0])
        if self.distillation_head is None:
            return KeywordOutput(logits)
        distilled = self.distillation_head(hidden[:, 1])
        return KeywordOutput(logits, distilled) if self.training else KeywordOutput((logits + distilled) / 2)

    def _start(self) -> None:
        """The paper's initial weights: a normal distribution of deviation 0.02 cut at two deviations, biases 0."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for embedding in (self.tokens, self.positions):
            nn.init.trunc_normal_(embedding, std=0.02, a=-0.04, b=0.04)


class TransformerBlock(nn.Module):
    """y = norm(x + attention(x)), then norm(y + perceptron(y)): normalised after the sum, as in the paper.

    Args:
        width: size of a token.
        heads: of the attention.
        inner: size of the layer inside the perceptron.
        dropout: of the attention's and the perceptron's output.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.perceptron = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        self.perceptron_norm = nn.LayerNorm(width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, tokens, width) to the same shape."""
        hidden = self.attention_norm(hidden + self.dropout(self.attention(hidden)))
        normalised: Tensor = self.perceptron_norm(hidden + self.dropout(self.perceptron(hidden)))
        return normalised


class SelfAttention(nn.Module):
    """Scaled dot-product attention of each token to all, without biases on queries, keys and values.

    The paper's has one on its output only, where ``nn.MultiheadAttention`` has biases everywhere or nowhere.

    Args:
        width: size of a token, a multiple of heads.
        heads: number of heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projections = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, tokens, width) to the same shape."""
        # (B, tokens, 3 * width) to three of (B, heads, tokens, width / heads).
        parts = self.projections(hidden).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts.unbind(0)
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        projected: Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return projected
