"""Learning-rate schedules over the optimizer steps of a stage."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR


def one_cycle(optimizer: Optimizer, total_steps: int, warm_up: float = 0.3) -> LRScheduler:
    """One-cycle policy (Smith and Topin 2019): the optimizer's rate is the peak, where momentum falls to 0.85.

    Args:
        optimizer: its ``lr`` is the rate at the peak.
        total_steps: optimizer steps of the stage.
        warm_up: share of the steps that climb to the peak.
    """
    peak = [group["lr"] for group in optimizer.param_groups]
    steps = max(2, total_steps)
    # OneCycleLR divides by the length of the climb less one step.
    return OneCycleLR(
        optimizer, max_lr=peak, total_steps=steps, pct_start=min(1.0, max(warm_up, 1.5 / steps))
    )


def cosine(optimizer: Optimizer, total_steps: int, warm_up: float = 0.0) -> LRScheduler:
    """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter 2017, without restarts).

    Args:
        optimizer: its ``lr`` is the rate after the warm-up.
        total_steps: optimizer steps of the stage.
        warm_up: share of the steps that climb linearly from zero.
    """
    climb = warm_up * total_steps

    def factor(step: int) -> float:
        if step < climb:
            return (step + 1) / (climb + 1)
        return 0.5 * (1.0 + math.cos(math.pi * (step - climb) / max(1.0, total_steps - climb)))

    return LambdaLR(optimizer, factor)
