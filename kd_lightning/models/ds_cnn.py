"""DS-CNN: one convolution over time and frequency, then depthwise separable ones.

Zhang, Suda, Lai & Chandra, "Hello Edge: Keyword Spotting on Microcontrollers", 2017. Made for few bytes and few
multiplications: nearly all of them are in 1x1 convolutions.
"""

from typing import NamedTuple

from torch import Tensor, nn

from kd_lightning.models.waveform_model import KeywordOutput


class Size(NamedTuple):
    """One row of the paper's table of architectures. Strides are (frequency, time)."""

    channels: int
    blocks: int
    stem_stride: tuple[int, int]
    first_stride: tuple[int, int]


SIZES = {
    "s": Size(64, 4, (2, 2), (1, 1)),
    "m": Size(172, 4, (1, 2), (2, 2)),
    "l": Size(276, 5, (1, 2), (2, 2)),
}


class DSCNN(nn.Module):
    """DS-CNN-S, -M or -L, for features of any size: it averages over all that is left of time and frequency.

    Unlike the paper's, it normalises each feature by a BatchNorm first: the first cepstral coefficient is ten times the
    others. That adds two parameters a bin. There is no dropout, as in the paper's code.

    Args:
        bins: number of feature bins (10 MFCC in the paper, of 49 frames at a hop of 20 ms).
        classes: number of classes C.
        size: "s", "m" or "l".

    Raises:
        ValueError: if there is no such size.
    """

    def __init__(self, bins: int, classes: int, size: str = "s") -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"DS-CNN of size {size!r}: set size to {', '.join(SIZES)}")
        channels, blocks, stem_stride, first_stride = SIZES[size]
        self.norm = nn.BatchNorm1d(bins)
        self.stem = nn.Sequential(
            # Even kernels and strides of two: only an uneven padding keeps ceil(size / stride) of any size.
            nn.ZeroPad2d((4, 5, 1, 2)),
            nn.Conv2d(1, channels, kernel_size=(4, 10), stride=stem_stride, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(
            *(SeparableBlock(channels, (1, 1) if index else first_stride) for index in range(blocks))
        )
        self.head = nn.Linear(channels, classes)

    def forward(self, features: Tensor) -> KeywordOutput:
        """Classify features (B, bins, frames) as logits (B, C)."""
        hidden: Tensor = self.blocks(self.stem(self.norm(features).unsqueeze(1)))
        return KeywordOutput(self.head(hidden.mean(dim=(2, 3))))


class SeparableBlock(nn.Sequential):
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution that mixes them.

    It maps (B, channels, bands, frames) to (B, channels, ceil(bands / stride), ceil(frames / stride)).

    Args:
        channels: in and out.
        stride: over (frequency, time).
    """

    def __init__(self, channels: int, stride: tuple[int, int]) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
