"""What a flow makes of recordings."""

from typing import NamedTuple

from torch import Tensor


class FlowOutput(NamedTuple):
    """Recordings as noise, and by how much the flow spread them.

    Attributes:
        z: (B, T) float32, one value a sample; 0 beyond an utterance's last frame.
        log_determinant: (B,) float32, ln |det dz/dwaveform| of the samples that are not padding.
        samples: (B,) int64, samples of z that are not padding, a whole number of frames.
    """

    z: Tensor
    log_determinant: Tensor
    samples: Tensor
