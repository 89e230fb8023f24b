"""A teacher that does not stay as it is."""

import pytest
import torch
from torch import nn

from kd_lightning.checks.finding import Level
from kd_lightning.checks.first_steps import _of_teacher, _state, first_steps
from kd_lightning.checks.stage import tried_config
from kd_lightning.experiment.build import build_experiment


@pytest.fixture
def teacher():
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).requires_grad_(False).eval()


def found(teacher, before=None, trained=frozenset(), kept=()):
    before = before or _state(teacher)
    return next(_of_teacher(teacher, before, set(trained), dict.fromkeys(kept, torch.zeros(1))))


def test_a_frozen_teacher_is_fine(teacher):
    said = found(teacher, kept=["student.0.weight"])
    assert said.level is Level.OK
    assert "4 weights and 3 buffers" in said.says


def test_a_part_in_training_mode_is_wrong(teacher):
    teacher[1].train()
    assert "training mode" in found(teacher).says


def test_a_parameter_that_takes_gradients_is_wrong(teacher):
    teacher[0].bias.requires_grad_(True)
    assert "takes gradients" in found(teacher).says


def test_a_parameter_in_the_optimizer_is_wrong(teacher):
    assert "in the optimizer" in found(teacher, trained={id(teacher[0].weight)}).says


def test_a_tensor_in_a_checkpoint_is_wrong(teacher):
    assert "in checkpoints" in found(teacher, kept=["teacher.0.weight"]).says


def test_statistics_that_drift_are_wrong(teacher):
    before = _state(teacher)
    teacher.train()(torch.randn(4, 2, generator=torch.manual_seed(0)))
    teacher.eval()
    said = found(teacher, before)
    assert said.level is Level.WRONG
    assert "another one after a few steps" in said.says


def test_the_first_steps_are_real_ones_and_their_teacher_stays(config_of, teacher_run, tmp_path):
    config = tried_config(config_of("distill", f"teacher.run={teacher_run}"))
    experiment = build_experiment(config, tmp_path)
    before = _state(experiment.distiller.student)
    measured, findings = first_steps(experiment, tmp_path)
    assert [finding.level for finding in findings] == [Level.OK, Level.OK]
    assert "the same bits" in findings[0].says
    assert not all(torch.equal(before[key], now) for key, now in _state(experiment.distiller.student).items())
    assert 0 < measured.step_seconds < 30
    assert measured.checkpoint > 4 * sum(p.numel() for p in experiment.distiller.student.parameters())
    # The schedule is that of the whole stage: a one-cycle rate begins at a 25th of its peak.
    assert measured.rate == pytest.approx(config["optimizer"]["lr"] / 25, rel=1e-6)
