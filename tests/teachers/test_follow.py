"""A moving average against its closed forms."""

import copy

import pytest
import torch

from kd_lightning.teachers.moving_average import MovingAverage


def steps_of(student, count):
    """Change a student as an optimizer would; yields its parameters, in float64, after each step."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(count):
        with torch.no_grad():
            for parameter in student.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
            for name, buffer in student.named_buffers():
                if "running" in name:
                    buffer.add_(1.0)
        yield [parameter.detach().double() for parameter in student.parameters()]


def test_the_average_is_the_plain_mean_of_all_weights_until_that_is_slower_than_the_momentum(make_model):
    student = make_model(0)
    teacher = MovingAverage(student, momentum=0.8)
    mean = [parameter.detach().double() for parameter in student.parameters()]
    for step, weights in enumerate(steps_of(student, 12), start=1):
        teacher.follow(student, step)
        # n / (n + 1) is 0.8 at the fourth step.
        stay = step / (step + 1) if step <= 4 else 0.8
        mean = [stay * m + (1 - stay) * w for m, w in zip(mean, weights, strict=True)]
        for own, expected in zip(teacher.parameters(), mean, strict=True):
            torch.testing.assert_close(own.double(), expected, rtol=1e-5, atol=1e-5)


def test_the_statistics_of_batch_norm_are_the_students(make_model):
    student = make_model(0)
    teacher = MovingAverage(student)
    for step, _ in enumerate(steps_of(student, 2), start=1):
        teacher.follow(student, step)
    theirs = dict(student.named_buffers())
    assert any("running_mean" in name for name in theirs)
    assert all(torch.equal(buffer, theirs[name]) for name, buffer in teacher.named_buffers())


def test_without_momentum_it_is_the_student_of_the_last_renewal(make_model):
    student = make_model(0)
    teacher = MovingAverage(student, momentum=0.0, every=3)
    kept = copy.deepcopy(student.state_dict())
    for step, _ in enumerate(steps_of(student, 7), start=1):
        if step in (3, 6):
            kept = copy.deepcopy(student.state_dict())
        teacher.follow(student, step)
        assert all(torch.equal(kept[name], tensor) for name, tensor in teacher.state_dict().items())


def test_it_is_a_copy_and_leaves_the_student_alone(make_model):
    student = make_model(0)
    before = copy.deepcopy(student.state_dict())
    teacher = MovingAverage(student)
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())


@pytest.mark.parametrize("settings", [{"momentum": 1.0}, {"momentum": -0.1}, {"every": 0}])
def test_settings_out_of_range_are_refused(settings, make_model):
    with pytest.raises(ValueError, match=r"teacher\.average"):
        MovingAverage(make_model(0), **settings)
