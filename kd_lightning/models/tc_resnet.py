"""TC-ResNet: temporal convolutions with the feature bins as channels.

Choi et al., "Temporal Convolution for Real-time Keyword Spotting on Mobile Devices", Interspeech 2019. The
first layer already sees all frequencies, so the network stays one-dimensional, small and quick.
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.models.waveform_model import KeywordOutput

CHANNELS = {8: (16, 24, 32, 48), 14: (16, 24, 24, 32, 32, 48, 48)}


class TCResNet(nn.Module):
    """TC-ResNet-8 or -14 for clips of a fixed length.

    Unlike the paper's, it normalises each feature by a BatchNorm first: the first cepstral coefficient is ten times the
    others. That adds two parameters a bin.

    Args:
        bins: number of feature bins (40 MFCC in the paper).
        classes: number of classes C.
        depth: 8 or 14 layers.
        width: multiplier of the channels (1 and 1.5 in the paper), rounded to whole channels.
        dropout: probability that a pooled channel is dropped (0.5 in the paper; less suits narrow networks).

    Raises:
        ValueError: if the depth is neither 8 nor 14, or the width leaves no channel.
    """

    def __init__(
        self, bins: int, classes: int, depth: int = 8, width: float = 1.0, dropout: float = 0.5
    ) -> None:
        super().__init__()
        if depth not in CHANNELS:
            raise ValueError(f"TC-ResNet of depth {depth}: set depth to 8 or 14")
        channels = [round(width * count) for count in CHANNELS[depth]]
        if min(channels) < 1:
            raise ValueError(f"TC-ResNet of width {width} has layers without channels: set a larger width")
        self.norm = nn.BatchNorm1d(bins)
        self.stem = nn.Sequential(
            nn.Conv1d(bins, channels[0], kernel_size=3, padding=1, bias=False),
            nn.BatchNorm1d(channels[0]),
            nn.ReLU(),
        )
        # A block that widens has stride 2. The paper's channels decide, as rounded ones may coincide.
        widens = [after > before for before, after in pairwise(CHANNELS[depth])]
        self.blocks = nn.Sequential(
            *(
                TemporalBlock(inputs, outputs, stride=2 if wider else 1)
                for (inputs, outputs), wider in zip(pairwise(channels), widens, strict=True)
            )
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels[-1], classes)

    def forward(self, features: Tensor) -> KeywordOutput:
        """Classify features (B, bins, frames) as logits (B, C)."""
        hidden: Tensor = self.blocks(self.stem(self.norm(features)))
        return KeywordOutput(self.head(self.dropout(hidden.mean(dim=-1))))


class TemporalBlock(nn.Module):
    """Two temporal convolutions of width 9 beside a shortcut.

    A block of stride 2 halves the frames, and its shortcut is a convolution of width 1 with the same stride.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: 1 or 2.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(inputs, outputs, kernel_size=9, stride=stride, padding=4, bias=False),
            nn.BatchNorm1d(outputs),
            nn.ReLU(),
            nn.Conv1d(outputs, outputs, kernel_size=9, padding=4, bias=False),
            nn.BatchNorm1d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv1d(inputs, outputs, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm1d(outputs),
                nn.ReLU(),
            )

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, inputs, frames) to (B, outputs, ceil(frames / stride))."""
        return functional.relu(self.layers(hidden) + self.shortcut(hidden))
