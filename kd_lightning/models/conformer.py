"""Conformer: self-attention for what is far, convolution for what is near.

Gulati et al., "Conformer: Convolution-augmented Transformer for Speech Recognition", Interspeech 2020, with the layers
of torchaudio.
"""

from collections.abc import Sequence

from torch import Tensor
from torchaudio.models.conformer import ConformerLayer

from kd_lightning.models.ctc_encoder import CTCEncoder


class Conformer(CTCEncoder):
    """A Conformer encoder with a CTC layer.

    The paper's sizes S (10.3M) and M (30.7M) count a transducer's prediction and joint networks and relative positions.
    Here are neither: torchaudio's layers know the order of frames from their convolutions alone, whose kernel is odd
    (31 where the paper has 32). At 80 bins and 1,000 tokens this makes 8.5M and 26.5M.

    Args:
        bins: number of feature bins.
        classes: number of tokens V, the blank included.
        width: size D of a frame (144 in S, 256 in M).
        heads: of the attention.
        inner: size of the layer inside both feed-forward modules, four times the width.
        layers: number of layers.
        kernel: of the depthwise convolutions, in frames of 40 ms.
        channels: of the subsampling's convolutions, as many as the width in the paper.
        dropout: probability that a value is dropped.
        intermediate_layers: layers below the last, from 1, that CTC also scores in training.

    Raises:
        ValueError: if the kernel is even, or there is no such intermediate layer.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        width: int = 144,
        heads: int = 4,
        inner: int = 576,
        layers: int = 16,
        kernel: int = 31,
        channels: int = 144,
        dropout: float = 0.1,
        intermediate_layers: Sequence[int] = (),
    ) -> None:
        blocks = [MaskedConformerLayer(width, inner, heads, kernel, dropout) for _ in range(layers)]
        super().__init__(bins, classes, width, channels, blocks, dropout, intermediate_layers)


class MaskedConformerLayer(ConformerLayer):
    """torchaudio's layer, whose convolution hears zeros beyond an utterance's end.

    torchaudio's own hears there what the padding became in the layers below, and so changes the last frames of every
    utterance that is shorter than its batch.
    """

    def forward(self, hidden: Tensor, padding: Tensor) -> Tensor:
        """Map frames.

        Args:
            hidden: (B, frames, D).
            padding: (B, frames) bool, which frames lie beyond the utterance's end.

        Returns:
            (B, frames, D).
        """
        hidden = hidden + 0.5 * self.ffn1(hidden)
        frames = self.self_attn_layer_norm(hidden).transpose(0, 1)
        attended, _ = self.self_attn(frames, frames, frames, key_padding_mask=padding, need_weights=False)
        hidden = hidden + self.self_attn_dropout(attended.transpose(0, 1))
        hidden = hidden + self._convolved(hidden, padding)
        hidden = hidden + 0.5 * self.ffn2(hidden)
        normalised: Tensor = self.final_layer_norm(hidden)
        return normalised

    def _convolved(self, hidden: Tensor, padding: Tensor) -> Tensor:
        pointwise, gate, *rest = self.conv_module.sequential
        channels = gate(pointwise(self.conv_module.layer_norm(hidden).transpose(1, 2)))
        channels = channels.masked_fill(padding[:, None], 0.0)
        for part in rest:
            channels = part(channels)
        return channels.transpose(1, 2)
