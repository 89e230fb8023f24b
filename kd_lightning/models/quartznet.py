"""QuartzNet: a CTC recogniser of 1-D convolutions that mix time and channels apart.

Kriman et al., "QuartzNet: Deep Automatic Speech Recognition with 1D Time-Channel Separable Convolutions", ICASSP 2020.
"""

from collections.abc import Sequence
from itertools import pairwise

from kd_lightning.models.separable_convolutions import (
    Block,
    PointwiseConv,
    SeparableConv,
    SeparableRecogniser,
)


class QuartzNet(SeparableRecogniser):
    """QuartzNet-BxR: a strided layer, B residual blocks of R separable convolutions, two wide layers, the CTC layer.

    The default arguments are QuartzNet-5x5; ``copies`` 2 and 3 make 10x5 and 15x5. Hints can tap ``blocks``:
    (B, channels, frames).

    Args:
        bins: number of feature bins (64 in the paper).
        classes: number of tokens V, the blank included.
        channels: of the blocks; the layer before them is as wide as the first, the layer after them as the last.
        kernels: frames that the convolutions of each block see, odd; those of the layer before the blocks are the
            first block's.
        copies: how often each block is repeated, with weights of its own (S in the paper).
        repeats: separable convolutions in a block (R in the paper).
        tail_kernel: frames of the dilated convolution after the blocks, odd.
        head_channels: of the last layer before the CTC layer.
        stride: features' frames in one of the output: 2 as published, or 4: the first block halves the time again.
        dropout: probability that a value is dropped after each separable convolution.
        intermediate_layers: numbers of blocks, from 1, that CTC layers of their own score in training.

    Raises:
        ValueError: if there are not as many kernels as channels, a kernel is even, or there is no such block or stride.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        channels: Sequence[int] = (256, 256, 512, 512, 512),
        kernels: Sequence[int] = (33, 39, 51, 63, 75),
        copies: int = 1,
        repeats: int = 5,
        tail_kernel: int = 87,
        head_channels: int = 1024,
        stride: int = 2,
        dropout: float = 0.0,
        intermediate_layers: Sequence[int] = (),
    ) -> None:
        if len(channels) != len(kernels):
            raise ValueError(
                f"QuartzNet with {len(channels)} channels and {len(kernels)} kernels: give one of each a block"
            )
        if stride not in (2, 4):
            raise ValueError(f"QuartzNet with stride={stride}: set 2 or 4")
        widths = [width for width in channels for _ in range(copies)]
        sizes = [kernel for kernel in kernels for _ in range(copies)]
        stem = Block([SeparableConv(bins, widths[0], sizes[0], stride=2)], dropout=dropout)
        strides = [stride // 2, *([1] * (len(sizes) - 1))]
        blocks = [
            _block(inputs, outputs, kernel, repeats, step, dropout)
            for (inputs, outputs), kernel, step in zip(
                pairwise([widths[0], *widths]), sizes, strides, strict=True
            )
        ]
        wide = PointwiseConv(widths[-1], head_channels)
        tail = Block([SeparableConv(widths[-1], widths[-1], tail_kernel, dilation=2), wide], dropout=dropout)
        super().__init__(stem, blocks, tail, classes, intermediate_layers)


def _block(inputs: int, outputs: int, kernel: int, repeats: int, stride: int, dropout: float) -> Block:
    """Separable convolutions, the last of which is strided, and their shortcut."""
    *earlier, last = pairwise([inputs, *([outputs] * repeats)])
    layers = (
        *(SeparableConv(*widths, kernel) for widths in earlier),
        SeparableConv(*last, kernel, stride),
    )
    return Block(layers, PointwiseConv(inputs, outputs, stride), dropout)
