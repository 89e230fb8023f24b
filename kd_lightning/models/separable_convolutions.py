"""Recognisers of 1-D convolutions that mix time and channels apart: what QuartzNet and Citrinet are built of."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from operator import mul

from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.models.padding import without_padding
from kd_lightning.models.recognition_output import RecognitionOutput


class ConvLayer(nn.Module):
    """A layer that maps (B, C, frames), of which ``lengths`` (B,) are valid, to (B, outputs, ceil(frames / stride)).

    Attributes:
        stride: over time.
        outputs: channels out.
    """

    stride: int
    outputs: int


class SeparableConv(ConvLayer):
    """A convolution over time for each channel, then one over channels for each frame, and BatchNorm.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: frames that the first convolution sees, odd.
        stride: of the first convolution.
        dilation: of the first convolution.

    Raises:
        ValueError: if the kernel is even.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.outputs = outputs
        self.depthwise = DepthwiseConv(inputs, kernel, stride, dilation)
        self.pointwise = PointwiseConv(inputs, outputs)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Map (B, inputs, frames), of which ``lengths`` (B,) are valid, to (B, outputs, ceil(frames / stride))."""
        mixed: Tensor = self.pointwise(self.depthwise(without_padding(hidden, lengths)), lengths)
        return mixed


class DepthwiseConv(nn.Conv1d):
    """Conv1d with one filter a channel, so padded that frame i of the output is centred on frame i * stride.

    It is computed as an image as high as there are frames and one pixel wide. Conv1d makes it one pixel high, which is
    slower in oneDNN: a training step of QuartzNet-5x5 then takes 1.7 times as long (torch 2.11, one thread), one of a
    narrow QuartzNet with short kernels 1.1 to 1.3 times.

    Args:
        channels: in and out.
        kernel: frames, odd.
        stride: frames.
        dilation: frames.

    Raises:
        ValueError: if the kernel is even.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1, dilation: int = 1) -> None:
        if kernel % 2 == 0:
            raise ValueError(
                f"a convolution over {kernel} frames has no frame in its middle: set an odd kernel"
            )
        padding = dilation * (kernel // 2)
        super().__init__(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, channels, frames) to (B, channels, ceil(frames / stride))."""
        return functional.conv2d(
            hidden.unsqueeze(3),
            self.weight.unsqueeze(3),
            stride=(*self.stride, 1),
            padding=(int(self.padding[0]), 0),
            dilation=(*self.dilation, 1),
            groups=self.groups,
        ).squeeze(3)


class PointwiseConv(ConvLayer):
    """A convolution over the channels of each frame, and BatchNorm.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: 2 leaves out every second frame.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.outputs = outputs
        self.conv = nn.Conv1d(inputs, outputs, kernel_size=1, stride=stride, bias=False)
        self.norm = nn.BatchNorm1d(outputs)

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Map (B, inputs, frames) to (B, outputs, ceil(frames / stride)); no frame sees another, valid or not."""
        mixed: Tensor = self.norm(self.conv(hidden))
        return mixed


class Block(ConvLayer):
    """Convolutions, each with ReLU and dropout; a shortcut is added before the last ReLU.

    Args:
        layers: only the last may be strided.
        shortcut: from the first layer's input to the last one's output, of the same stride; ``None`` for none.
        dropout: probability that a value is dropped after each layer.
    """

    def __init__(
        self, layers: Iterable[ConvLayer], shortcut: ConvLayer | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        *earlier, last = layers
        self.layers = nn.ModuleList((*earlier, last))
        self.shortcut = shortcut
        self.activation = nn.Sequential(nn.ReLU(), nn.Dropout(dropout))
        self.stride = last.stride
        self.outputs = last.outputs

    def forward(self, hidden: Tensor, lengths: Tensor) -> Tensor:
        """Map (B, C, frames), of which ``lengths`` (B,) are valid, to (B, outputs, ceil(frames / stride))."""
        branch = hidden
        for layer in self.layers[:-1]:
            branch = self.activation(layer(branch, lengths))
        branch = self.layers[-1](branch, lengths)
        activated: Tensor = self.activation(
            branch if self.shortcut is None else branch + self.shortcut(hidden, lengths)
        )
        return activated


class SeparableRecogniser(nn.Module):
    """A strided layer, residual blocks, wide layers, and the CTC layer.

    In training CTC may also score lower blocks (Lee and Watanabe, "Intermediate Loss Regularization for CTC-based
    Speech Recognition", ICASSP 2021), by layers of their own: a block is not as wide as the last layer.

    Args:
        stem: what comes before the blocks.
        blocks: the residual blocks.
        tail: what comes after them.
        classes: number of tokens V, the blank included.
        intermediate_layers: numbers of the blocks, from 1, that CTC scores in training: those that have as many frames
            as the output.

    Attributes:
        width: channels D of the tail.
        subsampling: frames of the features for one of the output.
        ctc: maps (B, frames, D) to token scores (B, frames, V).

    Raises:
        ValueError: if there is no such block, or it has more frames than the output.
    """

    def __init__(
        self,
        stem: Block,
        blocks: Sequence[Block],
        tail: Block,
        classes: int,
        intermediate_layers: Sequence[int],
    ) -> None:
        super().__init__()
        strides = list(accumulate((stem.stride, *(block.stride for block in blocks)), mul))
        self.subsampling = math.prod((strides[-1], tail.stride))
        usable = [number for number, stride in enumerate(strides) if number and stride == self.subsampling]
        if not set(intermediate_layers) <= set(usable):
            raise ValueError(
                f"intermediate_layers={list(intermediate_layers)}: set numbers from {usable[0]} to {usable[-1]}, "
                "of blocks with as many frames as the output"
            )
        self.width = tail.outputs
        self.stem = stem
        self.blocks = nn.ModuleList(blocks)
        self.tail = tail
        self.ctc = nn.Linear(self.width, classes)
        self.intermediate = nn.ModuleDict(
            {str(number): nn.Linear(blocks[number - 1].outputs, classes) for number in intermediate_layers}
        )

    def forward(self, features: Tensor, lengths: Tensor) -> RecognitionOutput:
        """Score the tokens of each frame.

        Args:
            features: (B, bins, frames) float32.
            lengths: (B,) int64, valid frames.
        """
        memory, lengths, lower = self._encode(features, lengths)
        return RecognitionOutput(self.ctc(memory), lengths, intermediate=tuple(lower))

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the CTC layer, or an attention decoder, looks at.

        Args:
            features: (B, bins, frames) float32.
            lengths: (B,) int64, valid frames.

        Returns:
            (B, ceil(frames / subsampling), D) and its valid frames (B,).
        """
        memory, lengths, _ = self._encode(features, lengths)
        return memory, lengths

    def _encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        hidden, lower = features, []
        for number, block in enumerate((self.stem, *self.blocks, self.tail)):
            hidden = block(hidden, lengths)
            lengths = (lengths + block.stride - 1) // block.stride
            if self.training and str(number) in self.intermediate:
                lower.append(self.intermediate[str(number)](hidden.transpose(1, 2)))
        return hidden.transpose(1, 2), lengths, lower
