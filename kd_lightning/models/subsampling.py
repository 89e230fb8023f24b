"""Convolutional subsampling: what an encoder of attention puts in front, so that it hears a quarter of the frames.

Dong, Xu & Xu, "Speech-Transformer: A No-Recurrence Sequence-to-Sequence Model for Speech Recognition", ICASSP 2018;
Gulati et al., "Conformer: Convolution-augmented Transformer for Speech Recognition", Interspeech 2020.
"""

from torch import Tensor, nn

from kd_lightning.models.padding import without_padding


class ConvolutionalSubsampling(nn.Module):
    """Two 3x3 convolutions of stride 2 over bands and frames, each with a ReLU, and a linear layer.

    Padded by one on each side, so that n frames give ceil(n / 4), and one frame gives one.

    Args:
        bins: number of feature bins.
        width: size D of a frame that comes out.
        channels: of both convolutions.
    """

    factor = 4

    def __init__(self, bins: int, width: int, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, channels, kernel_size=3, stride=2, padding=1) for inputs in (1, channels)
        )
        self.projection = nn.Linear(channels * -(-bins // self.factor), width)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Shorten utterances.

        Args:
            features: (B, bins, frames).
            lengths: (B,) int64, valid frames.

        Returns:
            (B, ceil(frames / 4), D) and its valid frames (B,) int64.
        """
        hidden = features[:, None]
        for convolution in self.convolutions:
            hidden = convolution(without_padding(hidden, lengths)).relu()
            lengths = (lengths + 1) // 2
        shortened: Tensor = self.projection(hidden.flatten(1, 2).transpose(1, 2))
        return shortened, lengths
