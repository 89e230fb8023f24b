"""A teacher that follows its student."""

from __future__ import annotations

import copy

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from kd_lightning.models.waveform_model import WaveformModel


class MovingAverage(WaveformModel):
    """The exponential moving average of the student's weights (mean teacher, Tarvainen and Valpola 2017).

    After update t of the student, average = m_t * average + (1 - m_t) * student, with m_t = min(1 - 1 / (t + 1),
    momentum): the plain mean of all weights so far, until that is slower than the momentum. Buffers (statistics of
    BatchNorm) are the student's.

    With ``momentum=0`` and ``every=n`` it is the student as it was, at most n steps ago.

    Unlike other teachers its weights belong to the run: they are kept in checkpoints.

    Args:
        student: copied as it is now.
        momentum: share of the average that stays in an update, in [0, 1).
        every: optimizer steps between two updates.

    Raises:
        ValueError: momentum or every are out of range.
    """

    def __init__(self, student: WaveformModel, momentum: float = 0.999, every: int = 1) -> None:
        if not 0 <= momentum < 1 or every < 1:
            raise ValueError(
                f"teacher.average: momentum={momentum} has to be in [0, 1), every={every} at least 1"
            )
        own = copy.deepcopy(student)
        super().__init__(own.frontend, own.network)
        self.momentum = momentum
        self.every = every

    @torch.no_grad()
    def follow(self, student: WaveformModel, step: int) -> None:
        """Update after an optimizer step of the student.

        Args:
            student: the network that this one was copied from.
            step: optimizer steps done, the last one included.
        """
        if step % self.every:
            return
        momentum = min(1 - 1 / (step // self.every + 1), self.momentum)
        get_ema_multi_avg_fn(momentum)(list(self.parameters()), list(student.parameters()), None)
        for own, new in zip(self.buffers(), student.buffers(), strict=True):
            own.copy_(new)
