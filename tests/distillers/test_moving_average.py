"""A student that learns from the moving average of itself."""

import copy
import functools

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Checkpoint
from torch.utils.data import DataLoader

from kd_lightning.distillers.keyword import KeywordDistiller
from kd_lightning.teachers.moving_average import MovingAverage


class Recorder(Checkpoint):
    """Keeps, at the place where checkpoints are written, what the student was and what a checkpoint holds."""

    def __init__(self, path):
        self.path = path
        self.students = []
        self.checkpoint = {}

    def on_train_start(self, trainer, pl_module):
        self.students.append(copy.deepcopy(pl_module.student.state_dict()))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.students.append(copy.deepcopy(pl_module.student.state_dict()))
        trainer.save_checkpoint(self.path)
        self.checkpoint = torch.load(self.path, weights_only=True)


@pytest.fixture
def make_self_distiller(make_distiller):
    """Builds a distiller whose teacher is the average of its student, with a hint."""

    def make(**settings):
        other = make_distiller(with_hint=True)
        return KeywordDistiller(
            classes=["yes", "no", "stop"],
            student=other.student,
            teacher=MovingAverage(other.student, **settings),
            terms=dict(other.terms.items()),
            weights=dict.fromkeys(other.terms, 1.0),
            optimizer=functools.partial(torch.optim.SGD, lr=0.1),
        )

    return make


@pytest.fixture
def train(batch, tmp_path):
    def run(distiller, steps):
        distiller.size_terms(batch)
        recorder = Recorder(tmp_path / "one.ckpt")
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            callbacks=[recorder],
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        trainer.fit(distiller, DataLoader([batch] * steps, batch_size=None))
        return trainer, recorder

    return run


def test_after_each_step_the_teacher_is_the_mean_of_the_students_so_far(make_self_distiller, train):
    distiller = make_self_distiller()
    _, recorder = train(distiller, 4)
    assert len(recorder.students) == 5
    teacher = distiller.teacher.state_dict()
    for name, _ in distiller.teacher.named_parameters():
        mean = torch.stack([student[name].double() for student in recorder.students]).mean(0)
        torch.testing.assert_close(teacher[name].double(), mean, rtol=1e-4, atol=1e-6)
        assert not torch.equal(teacher[name], recorder.students[0][name]), name


def test_a_checkpoint_holds_the_teacher_of_its_own_step(make_self_distiller, train):
    distiller = make_self_distiller(momentum=0.0)
    _, recorder = train(distiller, 2)
    state = recorder.checkpoint["state_dict"]
    for name, tensor in recorder.students[-1].items():
        assert torch.equal(state[f"teacher.{name}"], tensor), name

    again = make_self_distiller()
    again.teacher.load_state_dict({name: tensor + 1 for name, tensor in again.teacher.state_dict().items()})
    again.terms["hint"] = distiller.terms["hint"]
    again.on_load_checkpoint(recorder.checkpoint)
    again.load_state_dict(recorder.checkpoint["state_dict"], strict=True)
    assert all(
        torch.equal(tensor, recorder.students[-1][name])
        for name, tensor in again.teacher.state_dict().items()
    )


def test_no_gradient_and_no_optimizer_reaches_the_teacher_and_it_stays_in_eval_mode(
    make_self_distiller, train
):
    distiller = make_self_distiller()
    trainer, _ = train(distiller, 2)
    optimised = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    wanted = [*distiller.student.parameters(), *distiller.terms["hint"].parameters()]
    assert optimised == {id(parameter) for parameter in wanted}
    assert not any(p.requires_grad or p.grad is not None for p in distiller.teacher.parameters())
    assert all(parameter.requires_grad for parameter in distiller.student.parameters())
    distiller.train()
    assert not any(module.training for module in distiller.teacher.modules())


def test_an_earlier_copy_is_renewed_every_so_many_steps(make_self_distiller, train):
    distiller = make_self_distiller(momentum=0.0, every=3)
    _, recorder = train(distiller, 5)
    for name, tensor in distiller.teacher.state_dict().items():
        assert torch.equal(tensor, recorder.students[3][name]), name
