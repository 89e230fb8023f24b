"""Terms between two recognisers: frames, tokens and attention, against float64 written out."""

import functools

import numpy as np
import pytest
import torch
from recognition_steps import EVEN_TEACHER, FRAMES, LENGTHS, STUDENT, TEACHER, TRANSCRIPTS, step
from torch import Tensor
from torch.nn import functional

from kd_lightning.distillers.recognition_matching import (
    AttentionMatching,
    FrameMatching,
    IntermediateMatching,
    TokenMatching,
)
from kd_lightning.losses.cross_attention import attention_error
from kd_lightning.losses.frames import guided, posterior_error
from kd_lightning.losses.logits import soft_targets
from kd_lightning.models.recognition_output import RecognitionOutput

WARM = functools.partial(soft_targets, temperature=2.0)
COLD = functools.partial(soft_targets, temperature=1.0)


def softmax(rows: np.ndarray) -> np.ndarray:
    raised = np.exp(rows - rows.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def float64(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None
    return tensor.detach().numpy().astype(np.float64)


def divergence(student: np.ndarray, teacher: np.ndarray, temperature: float = 1.0) -> float:
    """T^2 KL of two rows of logits."""
    q, p = softmax(student / temperature), softmax(teacher / temperature)
    return float(temperature**2 * (p * np.log(p / q)).sum())


def chosen(frames: str) -> list[tuple[int, int]]:
    """(utterance, frame) of the frames that a teacher of the student's rate selects."""
    spikes = float64(EVEN_TEACHER.logits).argmax(axis=-1) != 0
    every = [(b, t) for b in range(4) for t in range(int(LENGTHS[b]))]
    reach = {"all": FRAMES, "non_blank": 0, "symmetric": 1}[frames]
    near = [
        any(spikes[b, s] for s in range(int(LENGTHS[b])) if abs(s - t) <= reach) or frames == "all"
        for b, t in every
    ]
    return [place for place, kept in zip(every, near, strict=True) if kept]


@pytest.mark.parametrize("frames", ["all", "non_blank", "symmetric"])
def test_frames_are_matched_where_the_teacher_selects_them(frames: str) -> None:
    places = chosen(frames)
    summed = FrameMatching(WARM, frames=frames, neighbours=1)(step(teacher=EVEN_TEACHER))
    student, teacher = float64(STUDENT.logits), float64(EVEN_TEACHER.logits)
    expected = sum(divergence(student[place], teacher[place], 2.0) for place in places)
    assert summed.sum.item() == pytest.approx(expected, rel=1e-5)
    assert summed.count == len(places)


@pytest.mark.parametrize("adapter", ["max_pool", "pool", "interpolate"])
def test_two_frames_of_a_fast_teacher_become_one(adapter: str) -> None:
    assert TEACHER.logits is not None
    student, teacher = float64(STUDENT.logits), softmax(float64(TEACHER.logits))
    expected = 0.0
    for b in range(4):
        for t in range(int(LENGTHS[b])):
            pair = teacher[b, 2 * t : 2 * t + 2]
            if adapter == "max_pool":
                spiking = pair[pair.argmax(axis=-1) != 0]
                merged = (spiking if len(spiking) else pair).max(axis=0)
            else:  # halfway between two middles, interpolation is their mean
                merged = pair.mean(axis=0)
            expected += divergence(student[b, t], np.log(merged / merged.sum()))
    summed = FrameMatching(COLD, adapter=adapter)(step())
    assert summed.sum.item() == pytest.approx(expected, rel=1e-5)
    assert summed.count == LENGTHS.sum()


def test_padding_and_a_longer_batch_change_nothing() -> None:
    assert STUDENT.logits is not None
    assert TEACHER.logits is not None
    student, teacher = STUDENT.logits.clone(), TEACHER.logits.clone()
    for b, length in enumerate(LENGTHS.tolist()):
        student[b, length:], teacher[b, 2 * length :] = 1e4, -1e4
    longer = step(
        STUDENT._replace(logits=functional.pad(student, (0, 0, 0, 3))),
        TEACHER._replace(logits=functional.pad(teacher, (0, 0, 0, 7))),
    )
    for term in (FrameMatching(WARM, "symmetric"), FrameMatching(WARM, tolerance=2, adapter="pool")):
        torch.testing.assert_close(term(longer), term(step()))


def test_the_same_posteriors_cost_nothing_and_draw_nowhere() -> None:
    assert EVEN_TEACHER.logits is not None
    for adapter in ("max_pool", "pool", "interpolate"):
        logits = EVEN_TEACHER.logits.clone().requires_grad_()
        summed = FrameMatching(WARM, adapter=adapter)(step(STUDENT._replace(logits=logits), EVEN_TEACHER))
        summed.sum.backward()
        assert summed.sum.item() == pytest.approx(0, abs=1e-5)
        assert logits.grad is not None
        assert logits.grad.abs().max() < 1e-5


@pytest.mark.parametrize("loss", [COLD, posterior_error, guided])
def test_a_tolerance_forgives_a_late_student(loss) -> None:
    teacher, late = (
        functional.one_hot(torch.tensor([choices]), 5) * 12.0
        for choices in ([0, 0, 3, 0, 2, 0], [0, 0, 0, 3, 0, 2])
    )
    lengths = torch.tensor([FRAMES])
    logits = (0.8 * late).requires_grad_()
    delayed = step(RecognitionOutput(logits, lengths), RecognitionOutput(teacher, lengths))
    strict = FrameMatching(loss, frames="non_blank")(delayed)
    lenient = FrameMatching(loss, frames="non_blank", tolerance=1)(delayed)
    assert strict.count == lenient.count == 2
    assert strict.sum > 1.5
    assert lenient.sum < 0.01
    lenient.sum.backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().sum(dim=-1).gt(0).nonzero().flatten().tolist() == [3, 5]


def test_a_teacher_that_says_only_blank_selects_nothing() -> None:
    silent = EVEN_TEACHER._replace(logits=torch.eye(5)[0].expand(4, FRAMES, 5))
    logits = torch.randn(4, FRAMES, 5, requires_grad=True)
    summed = FrameMatching(WARM, "symmetric")(step(STUDENT._replace(logits=logits), silent))
    summed.sum.backward()
    assert (summed.sum.item(), summed.count.item()) == (0.0, 0.0)
    assert logits.grad is not None
    assert logits.grad.eq(0).all()


def test_lower_layers_learn_from_the_teachers_last() -> None:
    of_each = [FrameMatching(WARM)(step(STUDENT._replace(logits=head))) for head in STUDENT.intermediate]
    summed = IntermediateMatching(WARM)(step())
    torch.testing.assert_close(summed.sum, (of_each[0].sum + of_each[1].sum) / 2)
    assert summed.count == LENGTHS.sum()


def test_tokens_are_matched_after_the_same_prefix_up_to_the_end() -> None:
    places = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)]
    student, teacher = float64(STUDENT.token_logits), float64(TEACHER.token_logits)
    expected = sum(divergence(student[place], teacher[place], 2.0) for place in places)
    summed = TokenMatching(WARM)(step())
    assert summed.sum.item() == pytest.approx(expected, rel=1e-5)
    assert summed.count == len(places)


def test_a_language_model_teaches_with_its_log_probabilities() -> None:
    assert TEACHER.token_logits is not None
    model = RecognitionOutput(
        None, torch.zeros(4, dtype=torch.long), TEACHER.token_logits.log_softmax(dim=-1)
    )
    torch.testing.assert_close(TokenMatching(WARM)(step(teacher=model)), TokenMatching(WARM)(step()))


def test_attention_is_compared_on_the_students_frames() -> None:
    student, teacher = float64(STUDENT.attention), float64(TEACHER.attention)
    expected, tokens = 0.0, 0
    for b, length in enumerate([2, 1, 3]):
        valid = int(LENGTHS[b])
        for u in range(length + 1):
            weights = teacher[b, u, : 2 * valid].reshape(valid, 2).sum(axis=1)
            looked = np.concatenate([weights / weights.sum(), np.zeros(FRAMES - valid)])
            expected += ((student[b, u] - looked) ** 2).sum()
            tokens += 1
    summed = AttentionMatching(attention_error)(step())
    assert summed.sum.item() == pytest.approx(expected, rel=1e-5)
    assert summed.count == tokens == 9


def test_networks_that_do_not_fit_are_refused_with_the_way_out() -> None:
    fewer = TEACHER._replace(logits=TEACHER.logits[..., :4], token_logits=TEACHER.token_logits[..., :4])  # type: ignore[index]
    for term in (FrameMatching(WARM), TokenMatching(WARM)):
        with pytest.raises(
            ValueError, match=r"student has 5 tokens and the teacher 4, .*take transfer=sequence"
        ):
            term(step(teacher=fewer))
    with pytest.raises(ValueError, match=r"CTC layer and the teacher has none: .*transfer=sequence"):
        FrameMatching(WARM)(step(teacher=TEACHER._replace(logits=None)))
    with pytest.raises(ValueError, match=r"decoder and the teacher has none: .*transfer=sequence"):
        TokenMatching(WARM)(step(teacher=TEACHER._replace(token_logits=None)))
    with pytest.raises(ValueError, match=r"the teacher shows none: .*transfer=attention_tokens"):
        AttentionMatching(attention_error)(step(teacher=TEACHER._replace(attention=None)))
    with pytest.raises(ValueError, match=r"name them in student\.network"):
        IntermediateMatching(WARM)(step(STUDENT._replace(intermediate=())))
    for wrong in ({"adapter": "mean"}, {"tolerance": -1}, {"frames": "some"}, {"neighbours": -1}):
        ((key, value),) = wrong.items()
        with pytest.raises(ValueError, match=f"{key}={value} of a transfer term: set"):
            FrameMatching(WARM, **wrong)  # type: ignore[arg-type]


def test_without_any_prefix_no_token_counts() -> None:
    hidden = TRANSCRIPTS._replace(labelled=torch.zeros(4, dtype=torch.bool))
    alone = step(
        STUDENT._replace(token_logits=STUDENT.token_logits[:, :3], attention=STUDENT.attention[:, :3]),  # type: ignore[index]
        TEACHER._replace(token_logits=TEACHER.token_logits[:, :3], attention=TEACHER.attention[:, :3]),  # type: ignore[index]
        hypotheses=None,
        targets=hidden,
    )
    for term in (TokenMatching(WARM), AttentionMatching(attention_error)):
        assert term(alone).count == term(alone).sum == 0
