"""Gates: which items pass, and what is left of a term when few or none do."""

import functools
import math

import pytest
import torch
from torch import nn

from kd_lightning.distillers.gates import confidence, teacher_correct
from kd_lightning.distillers.hints import ActivationMatching, Hint
from kd_lightning.distillers.terms import DecoupledMatching, LogitMatching, Step, Transfer
from kd_lightning.experiment.targets import build
from kd_lightning.losses.attention_maps import attention_transfer
from kd_lightning.losses.hints import cosine, hint
from kd_lightning.losses.labels import IGNORE
from kd_lightning.losses.logits import decoupled, hard_labels, mean_squared_error, soft_targets
from kd_lightning.losses.relations import angles, distances, similarities
from kd_lightning.models.waveform_model import KeywordOutput

# The teacher's probabilities of its first choice: 3/4, 1/2, 9/10, 3/4.
TAUGHT = torch.tensor([[3.0, 1.0], [1.0, 1.0], [1.0, 9.0], [1.0, 3.0]]).log()
LABELS = torch.tensor([0, IGNORE, 0, 1])
TERMS = {
    "soft_targets": functools.partial(LogitMatching, soft_targets),
    "hard_labels": functools.partial(LogitMatching, hard_labels),
    "mse": functools.partial(LogitMatching, mean_squared_error),
    "decoupled": functools.partial(DecoupledMatching, decoupled),
    "hint": functools.partial(Hint, hint, "a", "b"),
    "cosine": functools.partial(Hint, cosine, "a", "b", pooled=True),
    "attention": functools.partial(ActivationMatching, attention_transfer, "a", "b"),
    "distances": functools.partial(ActivationMatching, distances, "a", "b"),
    "angles": functools.partial(ActivationMatching, angles, ["a", "a"], ["b", "b"]),
    "similarities": functools.partial(ActivationMatching, similarities, "a", "b", pooled=True),
    "relations of logits": functools.partial(LogitMatching, distances),
}


def step() -> Step:
    generator = torch.Generator().manual_seed(0)
    logits, tapped = torch.randn(4, 2, generator=generator), torch.randn(4, 3, 6, generator=generator)
    return Step(
        LABELS,
        KeywordOutput(logits.requires_grad_()),
        KeywordOutput(TAUGHT),
        {"a": tapped.requires_grad_()},
        {"b": torch.randn(4, 5, 11, generator=generator)},
    )


def sized(name: str, gate: object) -> Transfer:
    torch.manual_seed(0)
    term = TERMS[name](gate=gate)
    term.size(step())
    return term


def test_teacher_correct_drops_labelled_items_that_the_teacher_misses() -> None:
    assert teacher_correct(LABELS, TAUGHT).tolist() == [True, True, False, True]
    hidden = torch.full((4,), IGNORE)
    assert teacher_correct(hidden, TAUGHT).all()


@pytest.mark.parametrize(
    ("threshold", "passed"),
    [(0.0, [1, 1, 1, 1]), (0.7, [1, 0, 1, 1]), (0.8, [0, 0, 1, 0]), (0.95, [0, 0, 0, 0])],
)
def test_confidence_is_the_teachers_largest_probability(threshold: float, passed: list[int]) -> None:
    assert confidence(LABELS, TAUGHT, threshold).tolist() == [bool(one) for one in passed]
    assert confidence(LABELS, TAUGHT + 100, threshold).tolist() == [bool(one) for one in passed]


@pytest.mark.parametrize("name", TERMS)
def test_a_gated_term_is_the_term_of_the_items_that_pass(name: str) -> None:
    gated = sized(name, teacher_correct)(step())
    few = sized(name, None)(step().only(torch.tensor([True, True, False, True])))
    torch.testing.assert_close(gated, few)
    every = sized(name, None)(step())
    assert gated.count < every.count
    assert sized(name, functools.partial(confidence, threshold=0.0))(step()) == every


@pytest.mark.parametrize("name", TERMS)
def test_where_none_passes_the_term_is_zero_of_zero_with_all_gradients(name: str) -> None:
    term = sized(name, functools.partial(confidence, threshold=0.95))
    one = step()
    none = term(one)
    assert (none.sum.item(), none.count.item()) == (0.0, 0.0)
    none.sum.backward()
    read = one.student_taps["a"] if term.student_paths else one.student.logits
    for tensor in (read, *term.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.eq(0).all()


def test_a_config_names_gates() -> None:
    config = {
        "_target_": "kd_lightning.distillers.terms.LogitMatching",
        "loss": {"_target_": "kd_lightning.losses.logits.soft_targets", "_partial_": True},
        "gate": {"_target_": "kd_lightning.distillers.gates.confidence", "_partial_": True, "threshold": 0.8},
    }
    term = build(config, nn.Module)
    assert term(step()).count == 1
    assert math.isclose(term.gate.keywords["threshold"], 0.8)
