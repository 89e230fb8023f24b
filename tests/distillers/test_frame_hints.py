"""Hints between layers of recognisers: rates, padding, projections."""

import logging
from typing import Any

import pytest
import torch
from recognition_steps import FRAMES, LENGTHS, STUDENT, TEACHER, step
from torch import Tensor

from kd_lightning.distillers.frame_hints import FrameHint, lengths_of
from kd_lightning.distillers.recognition_terms import RecognitionStep
from kd_lightning.losses.hints import cosine, hint
from kd_lightning.models.recognition_output import RecognitionOutput

GENERATOR = torch.Generator().manual_seed(1)
# The layers have twice the frames of the networks' outputs.
STUDENTS = {"a": torch.randn(4, 3, 2 * FRAMES, generator=GENERATOR)}
TEACHERS = {"c": torch.randn(4, 4 * FRAMES, 7, generator=GENERATOR)}


def tapped(student: dict[str, Tensor] = STUDENTS, teacher: dict[str, Tensor] = TEACHERS) -> RecognitionStep:
    return step()._replace(student_taps=student, teacher_taps=teacher)


def sized(of: RecognitionStep, **arguments: Any) -> FrameHint:
    torch.manual_seed(0)
    term = FrameHint(
        **({"loss": hint, "student": "a", "teacher": "c", "teacher_channels": "last"} | arguments)
    )
    term.size(of)
    return term


def test_it_is_the_loss_of_projected_frames_and_of_pooled_frames_in_float64() -> None:
    term = sized(tapped())
    weight, bias = term.projector.weight.double(), term.projector.bias.double()
    expected = 0.0
    for b, length in enumerate((2 * LENGTHS).tolist()):
        for t in range(length):
            student = weight @ STUDENTS["a"][b, :, t].double() + bias
            teacher = TEACHERS["c"][b, 2 * t : 2 * t + 2].double().mean(dim=0)
            expected += (student - teacher).square().mean().item()
    summed = term(tapped())
    assert summed.sum.item() == pytest.approx(expected, rel=1e-5)
    assert summed.count == 2 * LENGTHS.sum()
    summed.sum.backward()
    assert term.projector.weight.grad is not None
    assert term.projector.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("settings", [{"adapter": "pool"}, {"adapter": "interpolate"}, {"tolerance": 2}])
def test_padding_changes_nothing(settings: dict[str, Any]) -> None:
    loud = {"a": STUDENTS["a"].clone()}, {"c": TEACHERS["c"].clone()}
    for b, length in enumerate(LENGTHS.tolist()):
        loud[0]["a"][b, :, 2 * length :] = 1e3
        loud[1]["c"][b, 4 * length :] = -1e3
    term = sized(tapped(), **settings)
    torch.testing.assert_close(term(tapped(*loud)), term(tapped()))


def test_a_layer_of_half_the_students_rate_is_stretched() -> None:
    slow = {"c": TEACHERS["c"][:, :FRAMES]}
    repeated = {"c": slow["c"].repeat_interleave(2, dim=1)}
    term = sized(tapped())
    torch.testing.assert_close(term(tapped(teacher=slow)), term(tapped(teacher=repeated)))
    smooth = sized(tapped(), adapter="interpolate")
    assert abs(smooth(tapped(teacher=slow)).sum - term(tapped(teacher=slow)).sum) > 0.1


def test_a_tolerance_finds_frames_that_come_later() -> None:
    teacher = {"c": torch.randn(4, 2 * FRAMES, 3, generator=GENERATOR)}
    late = {"a": teacher["c"].transpose(1, 2).roll(1, dims=2)}
    delayed = step()._replace(student_taps=late, teacher_taps=teacher)
    errors = {}
    for tolerance in (0, 1):
        term = sized(delayed, tolerance=tolerance)
        torch.nn.init.eye_(term.projector.weight)
        torch.nn.init.zeros_(term.projector.bias)
        errors[tolerance] = term(delayed).sum
    # The last frame of each utterance has come too late to be heard.
    assert errors[1] < errors[0] / 3


def test_bands_are_channels() -> None:
    images = {"a": torch.randn(4, 3, 5, 2 * FRAMES, generator=GENERATOR)}
    flat = {"a": images["a"].reshape(4, 15, 2 * FRAMES)}
    term = sized(tapped(images))
    assert tuple(term.projector.weight.shape) == (7, 15)
    assert term(tapped(images)) == term(tapped(flat))


def test_any_loss_of_frames_will_do_and_half_precision_is_not_kept() -> None:
    low = [{path: layer.bfloat16() for path, layer in taps.items()} for taps in (STUDENTS, TEACHERS)]
    term = sized(tapped(), loss=cosine)
    summed = term(tapped(*low))
    assert summed.sum.dtype == torch.float32
    assert summed.count == 2 * LENGTHS.sum()


def test_valid_frames_of_a_layer_are_in_proportion_to_the_outputs() -> None:
    assert lengths_of(STUDENT, FRAMES).tolist() == LENGTHS.tolist()
    assert lengths_of(STUDENT, 2 * FRAMES).tolist() == (2 * LENGTHS).tolist()
    assert lengths_of(STUDENT, 3).tolist() == (LENGTHS // 2).tolist()
    # A decoder alone, and stored labels of its encoder: a batch as long as its longest utterance.
    attending = TEACHER._replace(logits=None)
    assert lengths_of(attending, 4 * FRAMES).tolist() == (4 * LENGTHS).tolist()
    assert lengths_of(RecognitionOutput(None, LENGTHS), 2 * FRAMES).tolist() == (2 * LENGTHS).tolist()


def test_the_log_says_which_channels_were_found(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="kd_lightning"):
        sized(tapped())
    assert caplog.messages == ["hint: 3 channels of the student's 'a' learn 7 of the teacher's 'c'"]


def test_layers_and_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"'a' gives \(4, 3\) with channels first; choose a module path whose"
    ):
        sized(tapped({"a": torch.zeros(4, 3)}))
    with pytest.raises(ValueError, match=r"'a' gives \(4, 2, 3, 4\) with channels last"):
        sized(tapped({"a": torch.zeros(4, 2, 3, 4)}), student_channels="last")
    for key, value in (("student_channels", "middle"), ("adapter", "max_pool"), ("tolerance", -1)):
        with pytest.raises(ValueError, match=f"{key}={value} of a transfer term: set"):
            sized(tapped(), **{key: value})
