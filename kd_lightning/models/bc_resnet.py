"""BC-ResNet: most of the work in one dimension (time), its result broadcast back over frequency.

Kim et al., "Broadcasted Residual Learning for Efficient Keyword Spotting", Interspeech 2021. Each block
averages over frequency, convolves over time, and adds the outcome to every frequency.
"""

from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.models.waveform_model import KeywordOutput

# (channels at tau = 1, blocks, stride over frequency) of the four stages; stage i is dilated 2^i over time.
STAGES = ((8, 2, 1), (12, 2, 2), (16, 4, 2), (20, 4, 1))
SUB_BANDS = 5


class BCResNet(nn.Module):
    """BC-ResNet-tau for clips of a fixed length.

    Args:
        bins: number of mel bands, a multiple of 40, so that after three halvings the five sub-bands remain.
        classes: number of classes C.
        tau: multiplier of the channels (1, 1.5, 2, 3, 6 and 8 in the paper), rounded to whole channels.
        dropout: probability that a channel of a block's temporal branch is dropped.

    Raises:
        ValueError: if the bins are not a multiple of 40, or tau leaves no channel.
    """

    def __init__(self, bins: int, classes: int, tau: float = 1.0, dropout: float = 0.1) -> None:
        super().__init__()
        if bins % (8 * SUB_BANDS):
            raise ValueError(f"BC-ResNet over {bins} mel bands: set the frontend's bins to a multiple of 40")
        if round(8 * tau) < 1:
            raise ValueError(f"BC-ResNet with tau = {tau} has layers without channels: set a larger tau")
        channels = round(16 * tau)
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, kernel_size=5, stride=(2, 1), padding=2, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        blocks: list[nn.Module] = []
        for stage, (base, count, stride) in enumerate(STAGES):
            outputs, dilation = round(base * tau), 2**stage
            blocks.append(TransitionBlock(channels, outputs, stride, dilation, dropout))
            blocks.extend(NormalBlock(outputs, dilation, dropout) for _ in range(count - 1))
            channels = outputs
        self.blocks = nn.Sequential(*blocks)
        pooled = round(32 * tau)
        self.tail = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=5, padding=(0, 2), groups=channels, bias=False),
            nn.Conv2d(channels, pooled, kernel_size=1, bias=False),
            nn.BatchNorm2d(pooled),
            nn.ReLU(),
        )
        self.head = nn.Linear(pooled, classes)

    def forward(self, features: Tensor) -> KeywordOutput:
        """Classify features (B, bins, frames) as logits (B, C)."""
        hidden: Tensor = self.tail(self.blocks(self.stem(features.unsqueeze(1))))
        return KeywordOutput(self.head(hidden.mean(dim=(2, 3))))


class NormalBlock(nn.Module):
    """y = relu(x + f2(x) + f1(mean over frequency of f2(x))), with f1 broadcast over frequency.

    f2 is a frequency-depthwise convolution with sub-spectral normalisation; f1 a temporal one.

    Args:
        channels: in and out.
        dilation: of the temporal convolution.
        dropout: of the temporal branch.
    """

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.frequency = _frequency_depthwise(channels, stride=1)
        self.temporal = _temporal_branch(channels, dilation, dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, channels, bands, frames) to the same shape."""
        local = self.frequency(hidden)
        return functional.relu(hidden + local + self.temporal(local.mean(dim=2, keepdim=True)))


class TransitionBlock(nn.Module):
    """A normal block that changes the number of channels and bands, so it has no identity shortcut.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: over frequency, 1 or 2.
        dilation: of the temporal convolution.
        dropout: of the temporal branch.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.pointwise = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel_size=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )
        self.frequency = _frequency_depthwise(outputs, stride)
        self.temporal = _temporal_branch(outputs, dilation, dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, inputs, bands, frames) to (B, outputs, bands / stride, frames)."""
        local = self.frequency(self.pointwise(hidden))
        return functional.relu(local + self.temporal(local.mean(dim=2, keepdim=True)))


class SubSpectralNorm(nn.Module):
    """Batch normalisation of each of S frequency sub-bands with statistics and weights of its own.

    Chang et al., "SubSpectral Normalization for Neural Audio Data Processing", ICASSP 2021.

    Args:
        channels: number of channels.
        sub_bands: number S of sub-bands; the bands of the input must be a multiple of it.
    """

    def __init__(self, channels: int, sub_bands: int = SUB_BANDS) -> None:
        super().__init__()
        self.sub_bands = sub_bands
        self.norm = nn.BatchNorm2d(channels * sub_bands)

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise (B, channels, bands, frames)."""
        _, channels, bands, frames = hidden.shape
        split = hidden.reshape(-1, channels * self.sub_bands, bands // self.sub_bands, frames)
        normalised: Tensor = self.norm(split)
        return normalised.reshape(-1, channels, bands, frames)


def _frequency_depthwise(channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            channels,
            channels,
            kernel_size=(3, 1),
            stride=(stride, 1),
            padding=(1, 0),
            groups=channels,
            bias=False,
        ),
        SubSpectralNorm(channels),
    )


def _temporal_branch(channels: int, dilation: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(
            channels,
            channels,
            kernel_size=(1, 3),
            padding=(0, dilation),
            dilation=(1, dilation),
            groups=channels,
            bias=False,
        ),
        nn.BatchNorm2d(channels),
        nn.SiLU(),
        nn.Conv2d(channels, channels, kernel_size=1, bias=False),
        nn.Dropout2d(dropout),
    )
