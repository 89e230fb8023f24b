"""Learning-rate schedules peak where they say and end near zero."""

import math

import pytest
import torch

from kd_lightning.distillers.schedules import cosine, one_cycle


def rates(schedule, steps, **settings):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = schedule(optimizer, total_steps=steps, **settings)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_one_cycle_climbs_to_the_optimizers_rate_and_falls_to_almost_nothing():
    seen = rates(one_cycle, 100, warm_up=0.3)
    assert max(seen) == pytest.approx(0.5)
    assert seen.index(max(seen)) == 29
    assert seen[0] == pytest.approx(0.5 / 25)
    assert seen[-1] < 1e-4


def test_cosine_is_half_a_cosine_after_a_linear_climb():
    seen = rates(cosine, 100, warm_up=0.0)
    assert seen == pytest.approx([0.25 * (1 + math.cos(math.pi * step / 100)) for step in range(100)])
    warm = rates(cosine, 100, warm_up=0.1)
    assert warm[:3] == pytest.approx([0.5 / 11, 1.0 / 11, 1.5 / 11])
    assert max(warm) == pytest.approx(0.5)
