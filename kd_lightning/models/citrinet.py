"""Citrinet: QuartzNet with squeeze-and-excitation, for word pieces at an eighth of the frame rate.

Majumdar et al., "Citrinet: Closing the Gap between Non-Autoregressive and Autoregressive End-to-End Models for
Automatic Speech Recognition", 2021.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from kd_lightning.models.padding import without_padding
from kd_lightning.models.separable_convolutions import (
    Block,
    ConvLayer,
    PointwiseConv,
    SeparableConv,
    SeparableRecogniser,
)

# Frames that the convolutions of the blocks see, by mega-block: the paper's layout K4.
KERNELS = (
    (11, 13, 15, 17, 19, 21),
    (13, 15, 17, 19, 21, 23, 25),
    (25, 27, 29, 31, 33, 35, 37, 39),
)


class Citrinet(SeparableRecogniser):
    """Citrinet-C: a layer, mega-blocks that each halve the frames, a layer, and the CTC layer.

    A frame of the output is 80 ms, which suits word pieces; for characters leave out a mega-block. Hints can tap
    ``blocks``: (B, channels, frames).

    Args:
        bins: number of feature bins (80 in the paper).
        classes: number of tokens V, the blank included (1,024 word pieces in the paper).
        channels: C, 256 to 1,024 in the paper.
        kernels: frames that the convolutions of each block see, odd, by mega-block.
        repeats: separable convolutions in a block (R in the paper).
        stem_kernel: frames that the first layer sees, odd.
        tail_kernel: frames that the last layer sees, odd.
        head_channels: of the last layer.
        dropout: probability that a value is dropped after each separable convolution of a block.
        intermediate_layers: numbers of blocks of the last mega-block, counted from 1 at the first of all, that CTC
            layers of their own score in training.

    Raises:
        ValueError: if a kernel is even, or an intermediate block is not one of the last mega-block.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        channels: int = 256,
        kernels: Sequence[Sequence[int]] = KERNELS,
        repeats: int = 5,
        stem_kernel: int = 5,
        tail_kernel: int = 41,
        head_channels: int = 640,
        dropout: float = 0.0,
        intermediate_layers: Sequence[int] = (),
    ) -> None:
        stem = Block([SqueezedConv(bins, channels, stem_kernel)])
        blocks = [
            Block(
                (
                    *(SeparableConv(channels, channels, kernel) for _ in range(repeats - 1)),
                    SqueezedConv(channels, channels, kernel, stride),
                ),
                PointwiseConv(channels, channels, stride),
                dropout,
            )
            for mega_block in kernels
            for kernel, stride in zip(mega_block, (2, *(1,) * (len(mega_block) - 1)), strict=True)
        ]
        tail = Block([SqueezedConv(channels, head_channels, tail_kernel)])
        super().__init__(stem, blocks, tail, classes, intermediate_layers)


class SqueezedConv(ConvLayer):
    """A separable convolution, and squeeze-and-excitation.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: frames that the convolution sees, odd.
        stride: of the convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.outputs = outputs
        self.conv = SeparableConv(inputs, outputs, kernel, stride)
        self.excitation = SqueezeExcitation(outputs)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Map (B, inputs, frames), of which ``lengths`` (B,) are valid, to (B, outputs, ceil(frames / stride))."""
        mixed = self.conv(hidden, lengths)
        excited: Tensor = self.excitation(mixed, (lengths + self.stride - 1) // self.stride)
        return excited


class SqueezeExcitation(nn.Module):
    """Scale each channel by what the means of all channels over the whole utterance say.

    Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018.

    Args:
        channels: in and out; an eighth of them lies between.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(channels // 8, 1)
        self.scales = nn.Sequential(
            nn.Linear(channels, squeezed, bias=False),
            nn.ReLU(),
            nn.Linear(squeezed, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Scale (B, channels, frames), of which ``lengths`` (B,) are valid."""
        means = without_padding(hidden, lengths).sum(dim=2) / lengths.unsqueeze(1)
        scales: Tensor = self.scales(means)
        return hidden * scales.unsqueeze(2)
