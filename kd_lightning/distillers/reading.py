"""A teacher reads sentences aloud, for students to learn from."""

from __future__ import annotations

import torch
from torch import Tensor

from kd_lightning.labels.speech import TaughtSpeech
from kd_lightning.losses.monotonic_alignment import durations_of
from kd_lightning.metrics.alignment import focus_rate, skipped_tokens
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded, Sentences

# Share of a sentence's tokens that a teacher may leave out: marks take no time, and a long step may pass a phone over.
# One that stops early or leaps ahead leaves out more.
MOST_UNREAD = 0.2


@torch.no_grad()
def read_aloud(teacher: AcousticModel, sentences: Sentences) -> TaughtSpeech:
    """Have a teacher read sentences, freely.

    Args:
        teacher: in eval mode.
        sentences: B of them.
    """
    said = teacher(sentences)
    focus = torch.ones(len(said.frames), device=said.mel.device)
    ended = torch.ones_like(focus, dtype=torch.bool) if said.ended is None else said.ended
    if said.attention is not None:
        unread = skipped_tokens(said.attention, steps_of(said), sentences.lengths)
        focus = focus_rate(said.attention, steps_of(said))
        focus = focus.where(unread <= MOST_UNREAD * sentences.lengths, 0.0)
    recorded = Recorded(said.mel, said.frames, spoken_durations(said, sentences))
    return TaughtSpeech(recorded, focus, ended)


def spoken_durations(said: AcousticOutput, sentences: Sentences) -> Tensor | None:
    """Frames (B, U) of each token of what a network says: its own, or those of a monotonic path through its attention.

    ``None`` for a network that has neither.
    """
    if said.durations is not None or said.attention is None:
        return said.durations
    return durations_of(said.attention, sentences.lengths, said.frames, said.frames_per_step)


def steps_of(said: AcousticOutput) -> Tensor:
    """(B,) steps of a decoder that are not padding."""
    return (said.frames + said.frames_per_step - 1) // said.frames_per_step
