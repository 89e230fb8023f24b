"""What a teacher says when it reads sentences aloud: mels, durations, and whether they can be trusted."""

from typing import NamedTuple

import torch
from torch import Tensor

from kd_lightning.models.acoustic_output import Recorded


class TaughtSpeech(NamedTuple):
    """Sentences as a teacher reads them.

    Attributes:
        recorded: the mels, and the frames of each token.
        focus: (B,) float32, the focus rate of its attention (Ren et al., "FastSpeech", 2019), 0 where it left out more
            than a few tokens; 1 for a teacher without.
        ended: (B,) bool, whether it came to an end by itself.
    """

    recorded: Recorded
    focus: Tensor
    ended: Tensor

    def trusted(self, min_focus: float) -> Tensor:
        """(B,) bool: it read to the end, and attended to one token at a time."""
        return self.ended & (self.focus >= min_focus)

    def to(self, device: torch.device, non_blocking: bool = False) -> "TaughtSpeech":
        """The same on a device."""
        return TaughtSpeech(
            self.recorded.to(device, non_blocking),
            self.focus.to(device, non_blocking=non_blocking),
            self.ended.to(device, non_blocking=non_blocking),
        )
