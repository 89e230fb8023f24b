"""What feed-forward acoustic networks are stacked of: blocks that map tokens to tokens, or frames to frames."""

from collections.abc import Iterable

from torch import Tensor, nn

from kd_lightning.models.separable_convolutions import DepthwiseConv
from kd_lightning.models.transformer_recogniser import with_positions


class AcousticBlock(nn.Module):
    """Maps (B, frames, D) to the same shape; it does not hear padding: ``valid`` (B, frames, 1) bool is false there.

    Attributes:
        needs_positions: whether it does not know the order of the frames by itself.
    """

    needs_positions: bool


class ConvolutionBlock(AcousticBlock):
    """A convolution over time for each channel, a norm, and a perceptron of each frame, added to what came in.

    Liu et al., "A ConvNet for the 2020s", CVPR 2022 (ConvNeXt), in one dimension and with ReLU.

    Args:
        width: size D of a frame.
        inner: size of the perceptron's inner layer.
        kernel: frames, odd.
        dropout: probability that a value is dropped.
    """

    needs_positions = False

    def __init__(self, width: int, inner: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(width, kernel)
        self.norm = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, inner), nn.ReLU(), nn.Dropout(dropout), nn.Linear(inner, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """Map (B, frames, D): see :class:`AcousticBlock`."""
        mixed = self.depthwise((hidden * valid).transpose(1, 2)).transpose(1, 2)
        return hidden + self.dropout(self.perceptron(self.norm(mixed)))


class TransformerBlock(AcousticBlock):
    """The feed-forward Transformer block of FastSpeech: self-attention, then two convolutions.

    Ren et al. 2019, section 3.1, but normalised first (Xiong et al., "On Layer Normalization in the Transformer
    Architecture", ICML 2020), which trains without a careful warm-up.

    Args:
        width: size D of a frame.
        inner: channels between the convolutions.
        kernel: frames of the first convolution, odd; the second sees one.
        heads: of the attention.
        dropout: probability that a value is dropped.
    """

    needs_positions = True

    def __init__(self, width: int, inner: int, kernel: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.convolution_norm = nn.LayerNorm(width)
        self.convolutions = nn.Sequential(
            nn.Conv1d(width, inner, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv1d(inner, width, kernel_size=1),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """Map (B, frames, D): see :class:`AcousticBlock`."""
        frames = self.attention_norm(hidden)
        attended, _ = self.attention(
            frames, frames, frames, key_padding_mask=~valid.squeeze(2), need_weights=False
        )
        hidden = hidden + self.dropout(attended)
        channels = (self.convolution_norm(hidden) * valid).transpose(1, 2)
        return hidden + self.dropout(self.convolutions(channels).transpose(1, 2))


class AcousticStack(nn.Module):
    """Blocks, one after the other, and a norm.

    Args:
        blocks: of one kind.
        width: size D of a frame.
    """

    def __init__(self, blocks: Iterable[AcousticBlock], width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(blocks)
        self.needs_positions = any(block.needs_positions for block in blocks)
        self.norm = nn.LayerNorm(width)

    def forward(self, hidden: Tensor, valid: Tensor) -> Tensor:
        """Map (B, frames, D): see :class:`AcousticBlock`."""
        if self.needs_positions:
            hidden = hidden + with_positions(hidden.new_zeros(1, *hidden.shape[1:]))
        for layer in self.layers:
            hidden = layer(hidden, valid)
        normalised: Tensor = self.norm(hidden)
        return normalised
