"""WaveGlow: a flow from mels to waveforms, all samples at once.

Prenger et al., "WaveGlow: A Flow-based Generative Network for Speech Synthesis", ICASSP 2019.
"""

from functools import partial

from torch import Tensor, nn

from kd_lightning.models.waveform_flow import WaveformFlow
from kd_lightning.models.wavenet import WaveNet


class WaveGlow(WaveformFlow):
    """Affine couplings around dilated WaveNets, on eight samples at a time, and a mel at the rate of the samples.

    The default arguments are the published network of 87.9M parameters: 256 channels wide, as its authors' code; the
    paper's text has 512. Magnitudes and directions of normalised weights count apart; fused they are 87.7M.

    Args:
        bins: of the mel.
        hop_length: samples of a frame of the mel.
        group: samples that are the channels of one position, even; a frame holds a whole number of groups.
        flows: steps.
        early_every: steps after which channels leave the flow.
        early_channels: that leave at once, even.
        layers: of the WaveNet in each step.
        channels: of these WaveNets.
        kernel: positions that each of their convolutions sees, odd.
        upsampling_frames: frames that a sample hears through the transposed convolution.
        sigma: standard deviation of the noise that is spoken from; below that of the training it sounds cleaner.

    Raises:
        ValueError: if groups do not fill a frame, a number is odd or even where it must not be, or all channels would
            leave.
    """

    def __init__(
        self,
        bins: int,
        hop_length: int,
        group: int = 8,
        flows: int = 12,
        early_every: int = 4,
        early_channels: int = 2,
        layers: int = 8,
        channels: int = 256,
        kernel: int = 3,
        upsampling_frames: int = 4,
        sigma: float = 0.6,
    ) -> None:
        if kernel % 2 == 0:
            raise ValueError(f"kernel={kernel} of WaveGlow: set an odd number")
        core = partial(WaveNet, conditions=bins * group, channels=channels, layers=layers, kernel=kernel)
        super().__init__(core, hop_length, group, flows, early_every, early_channels, sigma)
        # A frame of the mel is centred on the middle of its hop, and so are the samples that hear it.
        self.upsampling = nn.ConvTranspose1d(
            bins,
            bins,
            upsampling_frames * hop_length,
            stride=hop_length,
            padding=(upsampling_frames - 1) * hop_length // 2,
        )

    def condition(self, mel: Tensor) -> Tensor:
        """The mel (B, bins, frames) at the rate of the samples, grouped as they are: (B, group * bins, N)."""
        samples: Tensor = self.upsampling(mel)
        return samples.unflatten(2, (-1, self.group)).transpose(2, 3).flatten(1, 2)
