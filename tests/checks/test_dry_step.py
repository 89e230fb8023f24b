"""What is said of terms at the start."""

import pytest
import torch

from kd_lightning.checks.dry_step import TermStart, dry_step, of_terms
from kd_lightning.checks.finding import Level
from kd_lightning.experiment.build import build_experiment


def levels(terms, **settings):
    return [(finding.level, finding.what) for finding in of_terms(terms, **settings)]


def test_the_loss_is_the_weighted_sum():
    said = next(of_terms({"a": TermStart(0.5, 4.0, 1.0, 8), "b": TermStart(2.0, 1.5, 1.0, 8)}))
    assert said.says == "5 = a 0.5 x 4 + b 2 x 1.5"


def test_a_term_that_pulls_a_hundred_times_as_hard_is_said():
    quiet, loud = TermStart(1.0, 1.0, 0.1, 8), TermStart(1.0, 1.0, 11.0, 8)
    *_, last = of_terms({"quiet": quiet, "loud": loud})
    assert last.level is Level.WARNING
    assert "loud pulls 110 times as hard as quiet" in last.says
    assert (Level.WARNING, "terms") not in levels({"quiet": quiet, "loud": loud._replace(pull=9.0)})


def test_a_weight_that_starts_at_zero_is_no_fault():
    terms = {"a": TermStart(1.0, 1.0, 5.0, 8), "later": TermStart(0.0, 1.0, 0.0, 8)}
    assert (Level.WARNING, "terms") not in levels(terms)


def test_what_is_not_finite_is_wrong():
    assert levels({"a": TermStart(1.0, float("nan"), 1.0, 8)}) == [(Level.WRONG, "loss")]
    assert levels({"a": TermStart(1.0, 1.0, float("inf"), 8)}) == [(Level.WRONG, "loss")]


def test_a_term_that_finds_nothing_is_said_unless_its_teacher_knows_nothing():
    terms = {"a": TermStart(1.0, 1.0, 1.0, 8), "b": TermStart(1.0, 0.0, 0.0, 0)}
    assert (Level.WARNING, "terms") in levels(terms)
    assert (Level.WARNING, "terms") not in levels(terms, untaught=True)
    unlabelled = {key: one._replace(taught=False) for key, one in terms.items()}
    assert (Level.OK, "terms") in levels(unlabelled)


def test_terms_are_those_that_training_weighs_and_no_weight_moves(config_of, teacher_run, tmp_path):
    experiment = build_experiment(config_of("distill", f"teacher.run={teacher_run}"), tmp_path)
    distiller, batch = experiment.distiller, next(iter(experiment.datamodule.train_dataloader()))
    before = [parameter.detach().clone() for parameter in distiller.parameters()]
    torch.manual_seed(0)
    dry = dry_step(distiller, batch)
    assert all(map(torch.equal, before, distiller.parameters()))
    assert all(parameter.grad is None for parameter in distiller.parameters())
    torch.manual_seed(0)
    step = distiller.run_networks(batch)
    loss, means = distiller.weigh({key: term(step) for key, term in distiller.terms.items()})
    assert dry.loss == pytest.approx(float(loss.detach()))
    assert {key: one.mean for key, one in dry.terms.items()} == {
        key: float(mean) for key, mean in means.items()
    }
    # The pulls are those of the gradient: together at most their sum, alone each its own.
    loss.backward()
    norm = torch.nn.utils.get_total_norm(
        [p.grad for p in distiller.student.parameters() if p.grad is not None]
    )
    assert float(norm) <= sum(one.pull for one in dry.terms.values()) * (1 + 1e-5)
