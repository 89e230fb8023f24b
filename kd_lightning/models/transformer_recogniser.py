"""Transformers that recognise speech: an encoder with a CTC layer, and a decoder on top where wanted.

Vaswani et al., "Attention Is All You Need", NeurIPS 2017, on shortened features as in Dong, Xu & Xu,
"Speech-Transformer", ICASSP 2018, with joint CTC (Kim, Hori & Watanabe 2017). Layers are normalised first (Xiong et
al., "On Layer Normalization in the Transformer Architecture", ICML 2020), which trains without a careful warm-up.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kd_lightning.models.attention_recogniser import AttentionDecoder, EncoderDecoder
from kd_lightning.models.ctc_encoder import CTCEncoder
from kd_lightning.models.padding import frame_mask


class TransformerEncoder(CTCEncoder):
    """A Transformer encoder with a CTC layer, for utterances of any length.

    Args:
        bins: number of feature bins.
        classes: number of tokens V, the blank included.
        width: size D of a frame.
        heads: of the attention.
        inner: size of the layer inside a feed-forward module.
        layers: number of layers.
        channels: of the subsampling's convolutions.
        dropout: probability that a value is dropped.
        intermediate_layers: layers below the last, from 1, that CTC also scores in training.

    Raises:
        ValueError: if there is no such intermediate layer.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        width: int = 256,
        heads: int = 4,
        inner: int = 2048,
        layers: int = 12,
        channels: int = 256,
        dropout: float = 0.1,
        intermediate_layers: Sequence[int] = (),
    ) -> None:
        blocks = [EncoderLayer(width, heads, inner, dropout) for _ in range(layers)]
        super().__init__(bins, classes, width, channels, blocks, dropout, intermediate_layers)
        self.norm = nn.LayerNorm(width)

    def positioned(self, hidden: Tensor) -> Tensor:
        """Frames with their positions added."""
        return with_positions(hidden)

    def normalised(self, hidden: Tensor) -> Tensor:
        """The norm that layers which normalise first leave to the end."""
        normalised: Tensor = self.norm(hidden)
        return normalised


class EncoderLayer(nn.TransformerEncoderLayer):
    """torch's layer, which normalises first and hears no padding.

    Args:
        width: size D of a frame.
        heads: of the attention.
        inner: size of the layer inside the feed-forward module.
        dropout: probability that a value is dropped.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__(width, heads, inner, dropout, batch_first=True, norm_first=True)

    def forward(self, hidden: Tensor, padding: Tensor) -> Tensor:  # type: ignore[override]
        """Map frames (B, frames, D), of which ``padding`` (B, frames) bool are none, to the same shape."""
        return super().forward(hidden, src_key_padding_mask=padding)


class TransformerDecoder(AttentionDecoder):
    """A Transformer decoder: attends to the tokens so far, then to the encoder's frames.

    Args:
        memory: size of the encoder's frames.
        classes: number of tokens V.
        width: size D of a token.
        heads: of both attentions.
        inner: size of the layer inside a feed-forward module.
        layers: number of layers.
        dropout: probability that a value is dropped.
    """

    def __init__(
        self,
        memory: int,
        classes: int,
        width: int = 256,
        heads: int = 4,
        inner: int = 2048,
        layers: int = 6,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, width)
        # So that a scaled embedding is as large as a position.
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(DecoderLayer(memory, width, heads, inner, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, memory: Tensor, lengths: Tensor, prefix: Tensor) -> tuple[Tensor, Tensor]:
        """Token logits (B, U + 1, V) and attention weights (B, U + 1, frames): see :class:`AttentionDecoder`."""
        tokens = torch.cat((prefix.new_zeros(len(prefix), 1), prefix), dim=1)
        hidden = self.dropout(with_positions(self.embedding(tokens)))
        places = torch.arange(tokens.shape[1], device=tokens.device)
        later = places > places[:, None]
        padding = ~frame_mask(lengths, memory.shape[1])
        maps = []
        for layer in self.layers:
            hidden, attention = layer(hidden, later, memory, padding)
            maps.append(attention)
        return self.head(self.norm(hidden)), torch.stack(maps).mean(dim=0)


class DecoderLayer(nn.Module):
    """Attention to tokens, attention to frames, feed-forward, each normalised first and added to what it heard.

    That is ``nn.TransformerDecoderLayer``, which does not say where it looked.

    Args:
        memory: size of the encoder's frames.
        width: size D of a token.
        heads: of both attentions.
        inner: size of the layer inside the feed-forward module.
        dropout: probability that a value is dropped.
    """

    def __init__(self, memory: int, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.token_norm = nn.LayerNorm(width)
        self.token_attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.frame_norm = nn.LayerNorm(width)
        self.frame_attention = nn.MultiheadAttention(
            width, heads, dropout, kdim=memory, vdim=memory, batch_first=True
        )
        self.perceptron = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, inner),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(inner, width),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, hidden: Tensor, later: Tensor, memory: Tensor, padding: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map tokens.

        Args:
            hidden: (B, U + 1, D).
            later: (U + 1, U + 1) bool, what a token (row) may not attend to.
            memory: (B, frames, memory size).
            padding: (B, frames) bool, which frames are none.

        Returns:
            (B, U + 1, D), and the attention to frames (B, U + 1, frames), the mean over heads.
        """
        tokens = self.token_norm(hidden)
        attended, _ = self.token_attention(tokens, tokens, tokens, attn_mask=later, need_weights=False)
        hidden = hidden + self.dropout(attended)
        attended, weights = self.frame_attention(
            self.frame_norm(hidden), memory, memory, key_padding_mask=padding
        )
        hidden = hidden + self.dropout(attended)
        return hidden + self.dropout(self.perceptron(hidden)), weights


class TransformerRecogniser(EncoderDecoder):
    """A Transformer encoder with a CTC layer and a Transformer decoder.

    Args:
        bins: number of feature bins.
        classes: number of tokens V.
        width: size D of frames and tokens.
        heads: of every attention.
        inner: size of the layer inside a feed-forward module.
        layers: of the encoder.
        decoder_layers: of the decoder; 0 leaves CTC alone.
        channels: of the subsampling's convolutions.
        dropout: probability that a value is dropped.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        width: int = 256,
        heads: int = 4,
        inner: int = 2048,
        layers: int = 12,
        decoder_layers: int = 6,
        channels: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(
            TransformerEncoder(bins, classes, width, heads, inner, layers, channels, dropout),
            TransformerDecoder(width, classes, width, heads, inner, decoder_layers, dropout)
            if decoder_layers
            else None,
        )


def with_positions(hidden: Tensor) -> Tensor:
    """sqrt(D) x + p, where p(t, 2i) = sin(t / 10000^(2i / D)) and p(t, 2i + 1) the cosine.

    Vaswani et al. 2017, sections 3.4 and 3.5.

    Args:
        hidden: (B, frames, D), D even.

    Returns:
        (B, frames, D).
    """
    frames, width = hidden.shape[1:]
    steps = torch.arange(0, width, 2, device=hidden.device, dtype=torch.float32)
    rates = torch.exp(steps * (-math.log(10000.0) / width))
    angles = torch.arange(frames, device=hidden.device, dtype=torch.float32)[:, None] * rates
    positions = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
    return math.sqrt(width) * hidden + positions.to(hidden.dtype)
