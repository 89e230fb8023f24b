"""SqueezeWave: WaveGlow with 60 to 330 times fewer multiply-accumulates.

Zhai et al., "SqueezeWave: Extremely Lightweight Vocoders for On-device Speech Synthesis", 2020.
"""

from functools import partial

from torch import Tensor

from kd_lightning.models.waveform_flow import WaveformFlow
from kd_lightning.models.wavenet import SeparableWaveNet


class SqueezeWave(WaveformFlow):
    """Affine couplings around separable convolutions, on 128 or 256 samples at a time: there are few positions.

    The mel is not upsampled, but held for the positions of its frame. The default arguments are SqueezeWave-128L: of
    16,384 samples 128 positions of 128 samples; 64 positions have ``group`` 256, the small ones (S) 128 ``channels``.
    The authors' code also normalises over the batch in every layer; here weights are normalised instead, because the
    statistics of a batch would depend on padding.

    Args:
        bins: of the mel.
        hop_length: samples of a frame of the mel.
        group: samples that are the channels of one position, even; a frame holds a whole number of groups.
        flows: steps.
        early_every: steps after which channels leave the flow.
        early_channels: that leave at once, even.
        layers: of the core in each step.
        channels: of these cores.
        kernel: positions that each of their convolutions sees, odd.
        sigma: standard deviation of the noise that is spoken from; below that of the training it sounds cleaner.

    Raises:
        ValueError: if groups do not fill a frame, a number is odd or even where it must not be, or all channels would
            leave.
    """

    def __init__(
        self,
        bins: int,
        hop_length: int,
        group: int = 128,
        flows: int = 12,
        early_every: int = 2,
        early_channels: int = 16,
        layers: int = 8,
        channels: int = 256,
        kernel: int = 3,
        sigma: float = 0.6,
    ) -> None:
        core = partial(
            SeparableWaveNet,
            conditions=bins,
            channels=channels,
            layers=layers,
            kernel=kernel,
            hold=hop_length // group,
        )
        super().__init__(core, hop_length, group, flows, early_every, early_channels, sigma)

    def condition(self, mel: Tensor) -> Tensor:
        """The mel as it is."""
        return mel
