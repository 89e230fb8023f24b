"""What goes into an acoustic network, text to mel, and what comes out."""

from typing import NamedTuple

import torch
from torch import Tensor


class Sentences(NamedTuple):
    """What is to be spoken.

    Attributes:
        tokens: (B, U) int64 of characters or phonemes, padded with 0.
        lengths: (B,) int64, tokens that are not padding.
        speakers: (B,) int64, by number.
    """

    tokens: Tensor
    lengths: Tensor
    speakers: Tensor

    def to(self, device: torch.device, non_blocking: bool = False) -> "Sentences":
        """The sentences on a device."""
        return Sentences(*(tensor.to(device, non_blocking=non_blocking) for tensor in self))

    def rows(self, rows: Tensor) -> "Sentences":
        """The sentences at ``rows`` (N,)."""
        return Sentences(*(tensor[rows] for tensor in self))


class Recorded(NamedTuple):
    """How sentences were spoken: by a person, or by a teacher.

    Attributes:
        mel: (B, bins, frames) natural logarithm of the mel amplitude; beyond an utterance's end, that of silence.
        frames: (B,) int64, frames that are not padding.
        durations: (B, U) int64, frames of each token, that sum to ``frames``; ``None`` where nobody knows.
        pitch: (B, U) mean of a token's normalised log F0, 0 where it has no voice; NaN in rows where nobody knows it,
            and ``None`` where nobody asked.
        energy: (B, U) mean of a token's normalised energy, likewise.
    """

    mel: Tensor
    frames: Tensor
    durations: Tensor | None = None
    pitch: Tensor | None = None
    energy: Tensor | None = None

    def to(self, device: torch.device, non_blocking: bool = False) -> "Recorded":
        """The same on a device."""
        parts = {
            name: part.to(device, non_blocking=non_blocking)
            for name, part in self._asdict().items()
            if part is not None
        }
        return self._replace(**parts)

    def rows(self, rows: Tensor) -> "Recorded":
        """The utterances at ``rows`` (N,)."""
        return self._replace(
            **{name: part[rows] for name, part in self._asdict().items() if part is not None}
        )


class AcousticOutput(NamedTuple):
    """What an acoustic network says.

    A network with a decoder takes S steps of ``frames_per_step`` frames; teacher-forced, they cover all frames given.

    Attributes:
        mel: (B, bins, frames), finished.
        frames: (B,) int64, frames that are not padding.
        coarse: (B, bins, frames) before the postnet; ``None`` without one.
        stop_logits: (B, S) whether the utterance ends with this step; ``None`` for a network without a decoder.
        attention: (B, S, U) of the decoder over the tokens; ``None`` without one.
        hidden: (B, S, D) states of the decoder; ``None`` without one.
        durations: (B, U) int64, frames of each token of what was said; ``None`` for a network that does not know.
        log_durations: (B, U) ln(1 + frames) of each token; ``None`` where they are not predicted.
        pitch: (B, U) as in :class:`Recorded`; ``None`` where it is not predicted.
        energy: (B, U) as in :class:`Recorded`; ``None`` where it is not predicted.
        ended: (B,) bool, free-running: whether the decoder stopped before it had to; ``None`` otherwise.
        frames_per_step: of the decoder.
    """

    mel: Tensor
    frames: Tensor
    coarse: Tensor | None = None
    stop_logits: Tensor | None = None
    attention: Tensor | None = None
    hidden: Tensor | None = None
    durations: Tensor | None = None
    log_durations: Tensor | None = None
    pitch: Tensor | None = None
    energy: Tensor | None = None
    ended: Tensor | None = None
    frames_per_step: int = 1
