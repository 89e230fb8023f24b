"""Hints between hidden layers of recognisers, whose frames come at different rates and end in padding."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from kd_lightning.distillers.recognition_terms import RecognitionStep, RecognitionTerm
from kd_lightning.losses.frame_rates import average_pool, interpolate
from kd_lightning.losses.frames import best_match
from kd_lightning.losses.summed import Summed
from kd_lightning.models.padding import frame_mask
from kd_lightning.models.recognition_output import RecognitionOutput

ADAPTERS = {"pool": average_pool, "interpolate": interpolate}

_log = logging.getLogger(__name__)


class FrameHint(RecognitionTerm):
    """A loss between the frames of a hidden layer of each network (FitNets, Romero et al. 2015).

    The teacher's frames are brought to the student's rate, and a learned projection brings the student's channels to
    the teacher's. It is trained with the student and never exported. A layer has the same share of valid frames as the
    output of its network; frames beyond count for nothing.

    Args:
        loss: ``(student (N, C), teacher (N, C)) -> Summed`` of N frames, one of :mod:`kd_lightning.losses.hints`.
        student: module path in the student's network.
        teacher: module path in the teacher's network.
        student_channels: where the student's layer has its channels: "first" (B, C, frames) or (B, C, bands, frames),
            as convolutions, or "last" (B, frames, C), as recurrent networks and transformers. Bands become channels.
        teacher_channels: the same of the teacher's.
        adapter: ``pool`` averages the teacher's frames, ``interpolate`` draws straight lines between them.
        tolerance: a frame of the teacher may teach a frame of the student so many frames earlier or later, the one most
            like it.

    Raises:
        ValueError: a setting that does not exist; on the dry batch, if a layer has no frames.
    """

    projector: nn.Linear  # from size()

    def __init__(
        self,
        loss: Callable[[Tensor, Tensor], Summed],
        student: str,
        teacher: str,
        student_channels: Literal["first", "last"] = "first",
        teacher_channels: Literal["first", "last"] = "first",
        adapter: Literal["pool", "interpolate"] = "pool",
        tolerance: int = 0,
    ) -> None:
        super().__init__()
        for key, channels in (("student_channels", student_channels), ("teacher_channels", teacher_channels)):
            if channels not in ("first", "last"):
                raise ValueError(f"{key}={channels} of a transfer term: set first or last")
        if adapter not in ADAPTERS:
            raise ValueError(f"adapter={adapter} of a transfer term: set one of {', '.join(ADAPTERS)}")
        if tolerance < 0:
            raise ValueError(f"tolerance={tolerance} of a transfer term: set 0 or more frames")
        self.loss = loss
        self.student_paths = (student,)
        self.teacher_paths = (teacher,)
        self.student_channels = student_channels
        self.teacher_channels = teacher_channels
        self.resample = ADAPTERS[adapter]
        self.tolerance = tolerance

    def size(self, step: RecognitionStep) -> None:
        student, teacher = self._layers(step)
        # Nothing else shows that channels were taken for frames.
        _log.info(
            "hint: %d channels of the student's %r learn %d of the teacher's %r",
            *(student.shape[2], self.student_paths[0], teacher.shape[2], self.teacher_paths[0]),
        )
        self.projector = nn.Linear(student.shape[2], teacher.shape[2])

    def forward(self, step: RecognitionStep) -> Summed:
        assert step.teacher is not None
        hidden, theirs = self._layers(step)
        student = self.projector(hidden)
        frames = student.shape[1]
        lengths = lengths_of(step.student, frames)
        valid = frame_mask(lengths, frames)
        teacher = self.resample(theirs, lengths_of(step.teacher, theirs.shape[1]), lengths, frames)
        if self.tolerance:
            with torch.no_grad():
                places = best_match(student, teacher, valid, self.tolerance)
            student = student.gather(1, places.unsqueeze(-1).expand_as(student))
        return self.loss(student[valid], teacher[valid])

    def _layers(self, step: RecognitionStep) -> tuple[Tensor, Tensor]:
        """Both activations, (B, frames, C) float32."""
        return (
            _frames_of(step.student_taps, self.student_paths[0], self.student_channels),
            _frames_of(step.teacher_taps, self.teacher_paths[0], self.teacher_channels),
        )


def lengths_of(output: RecognitionOutput, frames: int) -> Tensor:
    """The valid frames (B,) of a layer with so many, in proportion to those of the network's output.

    Args:
        output: of the network, whose batch is padded to its logits, to its attention, or to its longest utterance.
        frames: of the layer's padded activations.
    """
    if output.logits is not None:
        padded: int | Tensor = output.logits.shape[1]
    elif output.attention is not None:
        padded = output.attention.shape[2]
    else:
        padded = output.lengths.max().clamp(min=1)
    return output.lengths * frames // padded


def _frames_of(taps: Mapping[str, Tensor], path: str, channels: str) -> Tensor:
    tapped = taps[path].float()
    if tapped.ndim == 3:
        return tapped if channels == "last" else tapped.transpose(1, 2)
    if tapped.ndim == 4 and channels == "first":
        return tapped.flatten(1, 2).transpose(1, 2)
    raise ValueError(
        f"transfer hint: {path!r} gives {tuple(tapped.shape)} with channels {channels}; choose a module path whose "
        "activations have frames: (B, C, frames) or (B, C, bands, frames) with channels first, (B, frames, C) with last"
    )
