"""A convolution over channels that can be undone.

Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", NeurIPS 2018.
"""

import torch
from torch import Tensor, nn


class InvertibleConvolution(nn.Module):
    """Mix the channels of each position by a square matrix W, at first a random rotation.

    It computes in the type of its input also under autocast: what is rounded away cannot be undone.

    Args:
        channels: in and out.
    """

    inverted: Tensor | None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.init.orthogonal_(torch.empty(channels, channels)))
        self.register_buffer("inverted", None, persistent=False)

    def forward(self, signal: Tensor) -> tuple[Tensor, Tensor]:
        """Mix.

        Args:
            signal: (B, channels, N) float32.

        Returns:
            (B, channels, N), and the scalar ln |det W|, which each of the N positions adds to the flow's.
        """
        with torch.autocast(signal.device.type, enabled=False):
            return self.weight @ signal, torch.linalg.slogdet(self.weight).logabsdet

    def inverse(self, signal: Tensor) -> Tensor:
        """Undo :meth:`forward` of (B, channels, N)."""
        with torch.autocast(signal.device.type, enabled=False):
            inverted = torch.linalg.inv(self.weight) if self.inverted is None else self.inverted
            return inverted @ signal

    @torch.no_grad()
    def fuse(self) -> None:
        """Invert W once and for all; afterwards the weights must not change."""
        self.inverted = torch.linalg.inv(self.weight)
