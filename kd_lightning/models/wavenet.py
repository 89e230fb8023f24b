"""The networks inside affine couplings: gated convolutions over time that also hear the mel.

Not causal, unlike the WaveNet of van den Oord et al. 2016: all of the signal is there at once.
"""

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from kd_lightning.models.separable_convolutions import DepthwiseConv


def gated(hidden: Tensor) -> Tensor:
    """tanh of the first half of the channels, times the sigmoid of the second: (B, 2 C, N) to (B, C, N)."""
    values, gates = hidden.chunk(2, dim=1)
    return values.tanh() * gates.sigmoid()


def audible(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the padding, as that of a convolution is zero.

    Args:
        hidden: (B, C, N).
        mask: (B, 1, N) bool, false for padding; ``None``: there is none.
    """
    return hidden if mask is None else hidden * mask


def pointwise(inputs: int, outputs: int) -> nn.Module:
    """A convolution over the channels of each position, its weight normalised (Salimans & Kingma 2016)."""
    return weight_norm(nn.Conv1d(inputs, outputs, kernel_size=1))


class DilatedLayer(nn.Module):
    """A dilated convolution, a gate that hears the mel, and what goes on to the next layer and to the output.

    Args:
        conditions: channels of the mel.
        channels: in and out.
        kernel: positions that the convolution sees, odd.
        dilation: of the convolution.
        last: whether no layer follows: all goes to the output.
    """

    def __init__(self, conditions: int, channels: int, kernel: int, dilation: int, last: bool) -> None:
        super().__init__()
        padding = dilation * (kernel // 2)
        self.last = last
        self.convolution = weight_norm(
            nn.Conv1d(channels, 2 * channels, kernel, padding=padding, dilation=dilation)
        )
        self.condition = pointwise(conditions, 2 * channels)
        self.mixed = pointwise(channels, channels if last else 2 * channels)

    def forward(self, hidden: Tensor, condition: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B, channels, N) for the next layer, and for the output."""
        heard = self.convolution(audible(hidden, mask)) + self.condition(condition)
        mixed = self.mixed(gated(heard))
        if self.last:
            return hidden, mixed
        residual, skipped = mixed.chunk(2, dim=1)
        return hidden + residual, skipped


class SeparableLayer(nn.Module):
    """A separable convolution, a gate that hears the mel, and what is added to the signal.

    Args:
        conditions: channels of the mel.
        channels: in and out.
        kernel: positions that the convolution sees, odd.
        hold: positions of the signal for one of the mel.
    """

    def __init__(self, conditions: int, channels: int, kernel: int, hold: int) -> None:
        super().__init__()
        self.hold = hold
        self.depthwise = DepthwiseConv(channels, kernel)
        self.pointwise = pointwise(channels, 2 * channels)
        self.condition = pointwise(conditions, 2 * channels)
        self.mixed = pointwise(channels, channels)

    def forward(self, hidden: Tensor, condition: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, N) of (B, channels, N) and the mel (B, conditions, N / hold)."""
        heard = self.pointwise(self.depthwise(audible(hidden, mask)))
        held = self.condition(condition).repeat_interleave(self.hold, dim=2)
        mixed: Tensor = self.mixed(gated(heard + held))
        return hidden + mixed


class WaveNet(nn.Module):
    """WaveGlow's core: dilated convolutions, twice as far apart in each layer, whose outputs are summed.

    Prenger et al. 2019. The last convolution starts at zero: a coupling around it does nothing at first.

    Args:
        inputs: channels in.
        outputs: channels out.
        conditions: channels of the mel.
        channels: inside.
        layers: number of them.
        kernel: positions that each convolution sees, odd.
    """

    def __init__(
        self, inputs: int, outputs: int, conditions: int, channels: int, layers: int, kernel: int
    ) -> None:
        super().__init__()
        self.first = pointwise(inputs, channels)
        self.layers = nn.ModuleList(
            DilatedLayer(conditions, channels, kernel, 2**number, last=number == layers - 1)
            for number in range(layers)
        )
        self.final = _zero(channels, outputs)

    def forward(self, signal: Tensor, condition: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, outputs, N) of a signal (B, inputs, N) and its mel (B, conditions, N).

        Args:
            signal: what is heard.
            condition: the mel, at the rate of the signal.
            mask: (B, 1, N) bool, false for padding; ``None``: there is none.
        """
        hidden, skips = self.first(signal), []
        for layer in self.layers:
            hidden, skipped = layer(hidden, condition, mask)
            skips.append(skipped)
        output: Tensor = self.final(sum(skips))
        return output


class SeparableWaveNet(nn.Module):
    """SqueezeWave's core: separable convolutions without dilation, and a mel that is held.

    Zhai et al. 2020. The last convolution starts at zero: a coupling around it does nothing at first.

    Args:
        inputs: channels in.
        outputs: channels out.
        conditions: channels of the mel.
        channels: inside.
        layers: number of them.
        kernel: positions that each convolution sees, odd.
        hold: positions of the signal for one of the mel.
    """

    def __init__(
        self, inputs: int, outputs: int, conditions: int, channels: int, layers: int, kernel: int, hold: int
    ) -> None:
        super().__init__()
        self.first = pointwise(inputs, channels)
        self.layers = nn.ModuleList(SeparableLayer(conditions, channels, kernel, hold) for _ in range(layers))
        self.final = _zero(channels, outputs)

    def forward(self, signal: Tensor, condition: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, outputs, N) of a signal (B, inputs, N) and its mel (B, conditions, N / hold).

        Args:
            signal: what is heard.
            condition: the mel, ``hold`` times slower than the signal.
            mask: (B, 1, N) bool, false for padding; ``None``: there is none.
        """
        hidden = self.first(signal)
        for layer in self.layers:
            hidden = layer(hidden, condition, mask)
        output: Tensor = self.final(hidden)
        return output


def _zero(inputs: int, outputs: int) -> nn.Conv1d:
    convolution = nn.Conv1d(inputs, outputs, kernel_size=1)
    nn.init.zeros_(convolution.weight)
    assert convolution.bias is not None
    nn.init.zeros_(convolution.bias)
    return convolution
