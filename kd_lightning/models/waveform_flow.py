"""Flows from waveforms to noise and back: what WaveGlow and SqueezeWave are built of.

Prenger et al., "WaveGlow: A Flow-based Generative Network for Speech Synthesis", ICASSP 2019.
"""

from collections.abc import Callable
from typing import Self, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from kd_lightning.models.flow_output import FlowOutput
from kd_lightning.models.invertible_convolution import InvertibleConvolution
from kd_lightning.models.padding import frame_mask, without_padding
from kd_lightning.models.wavenet import audible


class WaveformFlow(nn.Module):
    """Steps that each mix the channels and scale and shift half of them by what the other half and the mel say.

    Neighbouring samples are the channels of one position. Every few steps some channels leave the flow and are noise
    already (Dinh et al., "Density estimation using Real NVP", ICLR 2017).

    Args:
        core: (channels in, channels out) -> the network of a coupling, which maps a signal (B, in, N), a condition
            and a mask (B, 1, N) or ``None`` to (B, out, N).
        hop_length: samples of a frame of the mel.
        group: samples that are the channels of one position, even; a frame holds a whole number of groups.
        flows: steps.
        early_every: steps after which channels leave.
        early_channels: that leave at once, even.
        sigma: standard deviation of the noise that is spoken from.

    Attributes:
        hop_length: samples of a frame of the mel.
        group: samples of one position.
        sigma: standard deviation of the noise that is spoken from; may be set at any time.

    Raises:
        ValueError: if groups do not fill a frame, a number is odd, or all channels would leave.
    """

    def __init__(
        self,
        core: Callable[[int, int], nn.Module],
        hop_length: int,
        group: int,
        flows: int,
        early_every: int,
        early_channels: int,
        sigma: float,
    ) -> None:
        super().__init__()
        if hop_length % group:
            raise ValueError(
                f"group={group} samples do not fill frames of {hop_length}: set a divisor of the frontend's hop"
            )
        if group % 2 or early_channels % 2:
            raise ValueError(
                f"group={group} and early_channels={early_channels}: set even numbers, couplings halve the channels"
            )
        leaving = [early_channels if step and step % early_every == 0 else 0 for step in range(flows)]
        widths = [group - sum(leaving[: step + 1]) for step in range(flows)]
        if widths[-1] < 2:
            raise ValueError(
                f"group={group}: {sum(leaving)} channels would leave in {flows} flows; set a smaller early_channels "
                "or a larger early_every"
            )
        self.hop_length = hop_length
        self.group = group
        self.sigma = sigma
        self._leaving = leaving
        self.convolutions = nn.ModuleList(InvertibleConvolution(width) for width in widths)
        self.cores = nn.ModuleList(core(width // 2, width) for width in widths)

    def condition(self, mel: Tensor) -> Tensor:
        """What the cores hear of the mel (B, bins, frames), at the rate that they want."""
        raise NotImplementedError

    def forward(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Speak, from noise of torch's generator.

        Args:
            mel: (B, bins, frames) float32.
            lengths: (B,) int64, valid frames; ``None``: all. Given, padding changes nothing of what is said.

        Returns:
            (B, frames * hop_length) float32, in about [-1, 1]; 0 beyond an utterance's end.
        """
        shape = len(mel), mel.shape[2] * self.hop_length
        noise = torch.randn(shape, dtype=mel.dtype, device=mel.device)
        return self.inverse(self.sigma * noise, mel, lengths)

    def flow(self, waveform: Tensor, mel: Tensor, lengths: Tensor | None = None) -> FlowOutput:
        """Turn recordings into noise.

        The signal stays float32 under autocast; only the cores compute in lower precision.

        Args:
            waveform: (B, frames * hop_length) float32.
            mel: (B, bins, frames) float32.
            lengths: (B,) int64, valid frames; ``None``: all. Given, padding changes nothing of the rest.

        Raises:
            ValueError: if there are not as many samples as frames.
        """
        if waveform.shape[1] != mel.shape[2] * self.hop_length:
            raise ValueError(
                f"{waveform.shape[1]} samples do not fit {mel.shape[2]} frames of {self.hop_length}: "
                "pad recordings to whole frames"
            )
        mel, mask = self._padding(mel, lengths)
        signal, condition = self._grouped(waveform, mask), self.condition(mel)
        if lengths is None:
            lengths = torch.full((len(mel),), mel.shape[2], device=mel.device)
        positions = lengths * (self.hop_length // self.group)
        left, log_determinant = [], waveform.new_zeros(len(waveform))
        for leaving, convolution, core in zip(self._leaving, self.convolutions, self.cores, strict=True):
            early, signal = signal[:, :leaving], signal[:, leaving:]
            left.append(early)
            signal, spread = convolution(signal)
            kept, changed = signal.chunk(2, dim=1)
            shift, log_scale = core(kept, condition, mask).to(signal.dtype).chunk(2, dim=1)
            signal = audible(torch.cat([kept, log_scale.exp() * changed + shift], dim=1), mask)
            scaled = audible(log_scale, mask).sum(dim=(1, 2))
            log_determinant = log_determinant + spread * positions + scaled
        z = _ungrouped(torch.cat([*left, signal], dim=1))
        return FlowOutput(z, log_determinant, lengths * self.hop_length)

    def inverse(self, z: Tensor, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Turn noise into waveforms: undo :meth:`flow`.

        Args:
            z: (B, frames * hop_length) float32.
            mel: (B, bins, frames) float32.
            lengths: (B,) int64, valid frames; ``None``: all. Given, padding changes nothing of the rest.

        Returns:
            (B, frames * hop_length) float32.
        """
        mel, mask = self._padding(mel, lengths)
        noise, condition = self._grouped(z, mask), self.condition(mel)
        early, signal = noise.split([sum(self._leaving), self.group - sum(self._leaving)], dim=1)
        for leaving, convolution, core in zip(
            reversed(self._leaving), reversed(self.convolutions), reversed(self.cores), strict=True
        ):
            assert isinstance(convolution, InvertibleConvolution)
            kept, changed = signal.chunk(2, dim=1)
            shift, log_scale = core(kept, condition, mask).to(signal.dtype).chunk(2, dim=1)
            changed = (changed - shift) * (-log_scale).exp()
            signal = convolution.inverse(audible(torch.cat([kept, changed], dim=1), mask))
            early, joining = early.split([early.shape[1] - leaving, leaving], dim=1)
            signal = torch.cat([joining, signal], dim=1)
        return _ungrouped(signal)

    def fuse(self) -> Self:
        """Compute once what depends on the weights alone: their norms and inverses; for speaking and export only.

        Returns:
            The network itself, which says the same as before and can no longer be trained.
        """
        for module in self.modules():
            if parametrize.is_parametrized(module, "weight"):
                weight = cast(Tensor, module.weight).detach().clone()
                # remove_parametrizations would change the class, which deep copies share.
                del module.parametrizations
                module.__class__ = type(module).__bases__[0]
                module.weight = nn.Parameter(weight)
            if isinstance(module, InvertibleConvolution):
                module.fuse()
        return self.requires_grad_(False)

    def _padding(self, mel: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The mel without padding, and which groups (B, 1, N) are not padding, if any is."""
        if lengths is None:
            return mel, None
        per_frame = self.hop_length // self.group
        mask = frame_mask(lengths * per_frame, mel.shape[2] * per_frame)
        return without_padding(mel, lengths), mask.unsqueeze(1)

    def _grouped(self, signal: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T) as (B, group, T / group), without padding."""
        return audible(signal.unflatten(1, (-1, self.group)).transpose(1, 2), mask)


def _ungrouped(grouped: Tensor) -> Tensor:
    """(B, group, N) as (B, group * N)."""
    return grouped.transpose(1, 2).flatten(1)
