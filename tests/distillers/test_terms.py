"""What each term reads of a step."""

import functools

import torch
from torch import Tensor

from kd_lightning.distillers.terms import DecoupledMatching, LogitMatching, Step, Supervised
from kd_lightning.losses.labels import IGNORE, cross_entropy
from kd_lightning.losses.logits import decoupled, soft_targets
from kd_lightning.models.waveform_model import KeywordOutput

GENERATOR = torch.Generator().manual_seed(0)
LABELS = torch.tensor([0, 1, 2, IGNORE])
LOGITS, DISTILLED, TAUGHT = torch.randn(3, 4, 3, generator=GENERATOR)


def step(distilled: Tensor | None = None, taught: Tensor | None = TAUGHT) -> Step:
    teacher = None if taught is None else KeywordOutput(taught)
    return Step(LABELS, KeywordOutput(LOGITS, distilled), teacher, {}, {})


def test_with_a_teacher_labels_are_for_the_class_head_and_the_teacher_for_the_distillation_head() -> None:
    both = step(DISTILLED)
    assert Supervised(cross_entropy)(both) == cross_entropy(LOGITS, LABELS)
    assert LogitMatching(soft_targets)(both) == soft_targets(DISTILLED, TAUGHT)
    target = LABELS.where(LABELS != IGNORE, TAUGHT.argmax(dim=1))
    assert DecoupledMatching(decoupled)(both) == decoupled(DISTILLED, TAUGHT, target)


def test_without_a_distillation_token_the_logits_listen_to_both() -> None:
    assert Supervised(cross_entropy)(step()) == cross_entropy(LOGITS, LABELS)
    assert LogitMatching(soft_targets)(step()) == soft_targets(LOGITS, TAUGHT)


def test_without_a_teacher_both_heads_learn_from_the_labels() -> None:
    logits, distilled = LOGITS.clone().requires_grad_(), DISTILLED.clone().requires_grad_()
    alone = Step(LABELS, KeywordOutput(logits, distilled), None, {}, {})
    summed = Supervised(cross_entropy)(alone)
    one, other = cross_entropy(LOGITS, LABELS), cross_entropy(DISTILLED, LABELS)
    torch.testing.assert_close(summed.sum, (one.sum + other.sum) / 2)
    assert summed.count == 3
    summed.sum.backward()
    for head in (logits, distilled):
        assert head.grad is not None
        assert head.grad[:3].abs().sum() > 0


def test_the_target_of_a_hidden_label_is_the_teachers_first_choice() -> None:
    loss = functools.partial(decoupled, alpha=1.0, beta=0.0)
    term = DecoupledMatching(loss)
    hidden = term(step()._replace(labels=torch.full((4,), IGNORE)))
    torch.testing.assert_close(hidden, loss(LOGITS, TAUGHT, TAUGHT.argmax(dim=1)))
    seen = term(step()._replace(labels=TAUGHT.argmin(dim=1)))
    torch.testing.assert_close(seen, loss(LOGITS, TAUGHT, TAUGHT.argmin(dim=1)))
    assert abs(hidden.sum - seen.sum) > 0.01


def test_a_step_of_some_items_is_theirs_throughout() -> None:
    whole = Step(
        LABELS,
        KeywordOutput(LOGITS, DISTILLED),
        KeywordOutput(TAUGHT),
        {"a": LOGITS.unsqueeze(2)},
        {"b": DISTILLED},
    )
    part = whole.only(torch.tensor([False, True, False, True]))
    assert part.labels.tolist() == [1, IGNORE]
    assert part.teacher is not None
    assert part.teacher.distillation_logits is None
    assert part.student.distillation_logits is not None
    pairs = [
        (part.student.logits, LOGITS),
        (part.student.distillation_logits, DISTILLED),
        (part.teacher.logits, TAUGHT),
        (part.student_taps["a"], LOGITS.unsqueeze(2)),
        (part.teacher_taps["b"], DISTILLED),
    ]
    for some, every in pairs:
        assert torch.equal(some, every[[1, 3]])
