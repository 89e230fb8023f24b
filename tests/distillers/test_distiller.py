"""What holds for a distiller whatever it distils."""

import functools

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from kd_lightning.distillers.keyword import KeywordDistiller
from kd_lightning.distillers.terms import Supervised
from kd_lightning.distillers.weights import Linear
from kd_lightning.losses.labels import IGNORE, cross_entropy
from kd_lightning.losses.logits import soft_targets
from kd_lightning.losses.summed import Summed
from kd_lightning.teachers.ensemble import Ensemble


def train(distiller, batch, tmp_path, steps=3):
    """A few real steps through Lightning."""
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(distiller, DataLoader([batch] * steps, batch_size=None))
    return trainer


def test_the_teacher_is_bit_identical_after_training(make_distiller, batch, tmp_path):
    distiller = make_distiller(with_hint=True)
    distiller.size_terms(batch)
    before = {name: tensor.clone() for name, tensor in distiller.teacher.state_dict().items()}
    student = {name: tensor.clone() for name, tensor in distiller.student.state_dict().items()}
    train(distiller, batch, tmp_path)
    after = distiller.teacher.state_dict()
    assert any("running_mean" in name for name in before)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(
        not torch.equal(student[name], tensor) for name, tensor in distiller.student.state_dict().items()
    )


def test_the_teacher_stays_in_eval_mode_and_takes_no_gradient(make_distiller):
    distiller = make_distiller()
    distiller.train()
    assert distiller.student.training
    assert not any(module.training for module in distiller.teacher.modules())
    assert not any(parameter.requires_grad for parameter in distiller.teacher.parameters())


def test_a_checkpoint_holds_no_teacher_and_loads_strictly(make_distiller, batch, tmp_path):
    distiller = make_distiller(with_hint=True)
    distiller.size_terms(batch)
    trainer = train(distiller, batch, tmp_path)
    path = tmp_path / "one.ckpt"
    trainer.save_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    assert not [key for key in checkpoint["state_dict"] if key.startswith("teacher.")]
    assert [key for key in checkpoint["state_dict"] if key.startswith("terms.hint.projector.")]

    again = make_distiller(with_hint=True)
    again.size_terms(batch)
    again.on_load_checkpoint(checkpoint)
    again.load_state_dict(checkpoint["state_dict"], strict=True)
    for name, tensor in distiller.student.state_dict().items():
        assert torch.equal(tensor, again.student.state_dict()[name])


def test_the_optimizer_sees_student_and_projector_only(make_distiller, batch, tmp_path):
    distiller = make_distiller(with_hint=True)
    distiller.size_terms(batch)
    trainer = train(distiller, batch, tmp_path)
    optimised = {id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]}
    wanted = [*distiller.student.parameters(), *distiller.terms["hint"].parameters()]
    assert optimised == {id(parameter) for parameter in wanted}


def test_sizing_the_projectors_leaves_the_student_as_it_was(make_distiller, batch):
    distiller = make_distiller(with_hint=True)
    before = {name: tensor.clone() for name, tensor in distiller.student.state_dict().items()}
    distiller.size_terms(batch)
    assert all(torch.equal(before[name], tensor) for name, tensor in distiller.student.state_dict().items())
    assert distiller.student.training


def test_the_loss_is_the_weighted_sum_of_the_means_over_valid_items(make_distiller, batch):
    distiller = make_distiller()
    step = distiller.run_networks(batch)
    labelled = batch.labels != IGNORE
    student, teacher = step.student.logits.double(), step.teacher.logits.double()
    expected_labels = torch.nn.functional.cross_entropy(student[labelled], batch.labels[labelled])
    t = 2.0
    kl = torch.nn.functional.kl_div(
        (student / t).log_softmax(1), (teacher / t).log_softmax(1), log_target=True, reduction="batchmean"
    )
    loss, means = distiller.weigh({key: term(step) for key, term in distiller.terms.items()})
    torch.testing.assert_close(means["labels"].double(), expected_labels.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(means["soft_targets"].double(), (t * t * kl).detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss.double(), expected_labels + 2.0 * t * t * kl, rtol=1e-5, atol=1e-6)


def test_a_batch_without_any_label_gives_no_loss_and_no_nan(make_distiller, batch):
    distiller = make_distiller(with_teacher=False)
    loss, _ = distiller.weigh(
        {
            "labels": distiller.terms["labels"](
                distiller.run_networks(batch._replace(labels=torch.full((6,), IGNORE)))
            )
        }
    )
    assert loss == 0
    loss.backward()
    gradients = [parameter.grad for parameter in distiller.student.parameters()]
    assert all(gradient is not None and (gradient == 0).all() for gradient in gradients)


def test_equal_frontends_run_once_and_another_frontend_hears_the_same_view(make_distiller, batch):
    same, other = make_distiller(), make_distiller(teacher_bins=32)
    heard = []
    for distiller in (same, other):
        distiller.teacher.frontend.register_forward_hook(lambda _, inputs, output: heard.append(inputs))
    same.run_networks(batch)
    assert not heard
    assert other.run_networks(batch).teacher.logits.shape == (6, 3)
    ((waveform, masks),) = heard
    assert waveform is batch.waveform
    assert masks is batch.masks


def with_ensemble(distiller, *others):
    """The same student, taught by several networks."""
    return KeywordDistiller(
        classes=["yes", "no", "stop"],
        student=distiller.student,
        teacher=Ensemble([distiller.teacher, *others]),
        terms=dict(distiller.terms.items()),
        weights=dict.fromkeys(distiller.terms, 1.0),
        optimizer=functools.partial(torch.optim.SGD, lr=0.1),
    )


def test_an_ensemble_shares_the_students_features_where_they_are_equal(make_distiller, batch):
    member, other = make_distiller().teacher, make_distiller(teacher_bins=32).teacher
    distiller = with_ensemble(make_distiller(), member, other)
    calls = []
    for each in distiller.teacher.members:
        each.frontend.register_forward_hook(lambda module, *_: calls.append(module.bins))
    step = distiller.run_networks(batch)
    assert calls == [32]
    expected = distiller.teacher(batch.waveform, batch.masks).logits
    torch.testing.assert_close(step.teacher.logits, expected)
    assert not step.teacher.logits.requires_grad


def test_a_hint_from_an_ensemble_is_refused_with_the_reason(make_distiller):
    distiller = make_distiller(with_hint=True)
    with pytest.raises(ValueError, match=r"\['hint'\] read activations .* ensemble have no layer in common"):
        with_ensemble(distiller, make_distiller().teacher)


def test_a_teacher_that_nobody_needs_is_not_an_error_but_a_missing_one_is(make_distiller):
    distiller = make_distiller()
    with pytest.raises(ValueError, match=r"soft_targets.*need a teacher: set teacher\.run"):
        KeywordDistiller(
            classes=["a", "b"],
            student=distiller.student,
            teacher=None,
            terms=dict(distiller.terms.items()),
            weights={"labels": 1.0, "soft_targets": 1.0},
            optimizer=functools.partial(torch.optim.SGD, lr=0.1),
        )


def test_terms_and_weights_go_by_the_same_keys(make_distiller):
    with pytest.raises(ValueError, match=r"terms \['labels'\], weights \['label'\]"):
        KeywordDistiller(
            classes=["a", "b"],
            student=make_distiller().student,
            teacher=None,
            terms={"labels": Supervised(cross_entropy)},
            weights={"label": 1.0},
            optimizer=functools.partial(torch.optim.SGD, lr=0.1),
        )


def test_a_scheduled_weight_follows_the_progress_of_the_stage(make_distiller, batch, tmp_path):
    distiller = make_distiller(with_teacher=False)
    distiller.weights = {"labels": Linear(1.0, 0.0)}
    seen = []
    weigh = distiller.weigh
    distiller.weigh = lambda sums: (
        seen.append(distiller.weights["labels"](distiller.progress)),
        weigh(sums),
    )[1]
    train(distiller, batch, tmp_path, steps=4)
    assert seen == [1.0, 0.75, 0.5, 0.25]


def test_terms_are_computed_in_float32_under_autocast(make_distiller, batch):
    distiller = make_distiller()
    seen = []

    def spy(student: torch.Tensor, teacher: torch.Tensor) -> Summed:
        summed = soft_targets(student, teacher)
        seen.append(summed.sum.dtype)
        return summed

    distiller.terms["soft_targets"].loss = spy
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distiller.weigh({key: term(distiller.run_networks(batch)) for key, term in distiller.terms.items()})
    assert seen == [torch.float32]


def test_a_hint_path_that_does_not_exist_is_an_error_before_training(make_distiller):
    distiller = make_distiller(with_hint=True)
    distiller.terms["hint"].student_paths = ("blocks.9",)
    with pytest.raises(ValueError, match=r"blocks\.9"):
        KeywordDistiller(
            classes=["yes", "no", "stop"],
            student=distiller.student,
            teacher=distiller.teacher,
            terms=dict(distiller.terms.items()),
            weights=dict.fromkeys(distiller.terms, 1.0),
            optimizer=functools.partial(torch.optim.SGD, lr=0.1),
        )
