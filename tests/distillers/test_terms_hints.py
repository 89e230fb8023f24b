"""Terms on activations: pairs of layers, layouts, projectors, resampling."""

import functools
import logging

import pytest
import torch
from torch import Tensor, nn

from kd_lightning.distillers.hints import ActivationMatching, Hint
from kd_lightning.distillers.terms import Step
from kd_lightning.losses.attention_maps import attention_transfer
from kd_lightning.losses.hints import cosine, hint
from kd_lightning.losses.relations import similarities
from kd_lightning.losses.summed import Summed
from kd_lightning.models.taps import Taps
from kd_lightning.models.waveform_model import KeywordOutput

GENERATOR = torch.Generator().manual_seed(0)
STUDENT = {
    "a": torch.randn(4, 3, 6, generator=GENERATOR),
    "b": torch.randn(4, 5, 6, generator=GENERATOR),
    "bands": torch.randn(4, 2, 4, 6, generator=GENERATOR),
}
TEACHER = {
    "c": torch.randn(4, 7, 12, generator=GENERATOR),
    "d": torch.randn(4, 8, 9, generator=GENERATOR),
    "bands": torch.randn(4, 3, 8, 3, generator=GENERATOR),
}


def step(student: dict[str, Tensor] = STUDENT, teacher: dict[str, Tensor] = TEACHER) -> Step:
    logits = KeywordOutput(torch.zeros(4, 2))
    return Step(torch.zeros(4, dtype=torch.long), logits, logits, student, teacher)


def sized(term: Hint, of: Step | None = None) -> Hint:
    torch.manual_seed(0)
    term.size(of or step())
    return term


def test_a_hint_is_the_loss_of_the_projected_student_and_the_pooled_teacher() -> None:
    term = sized(Hint(hint, "a", "c"))
    ((weight, bias),) = [(layer.weight, layer.bias) for layer in term.projector]
    projected = torch.einsum("oi,bit->bot", weight.squeeze(2).double(), STUDENT["a"].double()) + bias[:, None]
    pooled = TEACHER["c"].double().unflatten(2, (6, 2)).mean(dim=3)  # twelve frames to six
    expected = (projected - pooled).square().flatten(1).mean(dim=1).sum()
    assert term(step()).sum.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("loss", [hint, cosine])
def test_several_pairs_are_averaged_and_have_a_projector_each(loss, pooled: bool) -> None:
    both = sized(Hint(loss, ["a", "b"], ["c", "d"], pooled=pooled))
    assert [tuple(layer.weight.shape[:2]) for layer in both.projector] == [(7, 3), (8, 5)]
    singles = [Hint(loss, "a", "c", pooled=pooled), Hint(loss, "b", "d", pooled=pooled)]
    for number, single in enumerate(singles):
        sized(single).projector[0].load_state_dict(both.projector[number].state_dict())
    one, other = (single(step()) for single in singles)
    summed = both(step())
    torch.testing.assert_close(summed.sum, (one.sum + other.sum) / 2)
    assert summed.count == 4
    summed.sum.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in both.parameters())


def test_bands_and_frames_of_the_teacher_become_the_students() -> None:
    seen: list[Tensor] = []

    def keep(student: Tensor, teacher: Tensor) -> Summed:
        seen.extend((student, teacher))
        return hint(student, teacher)

    sized(Hint(keep, "bands", "bands"))(step())
    assert [tuple(side.shape) for side in seen] == [(4, 3, 4, 6), (4, 3, 4, 6)]
    # Eight bands to four by averaging, three frames to six by repeating.
    expected = TEACHER["bands"].unflatten(2, (4, 2)).mean(dim=3).repeat_interleave(2, dim=3)
    torch.testing.assert_close(seen[1], expected)


def test_attention_needs_no_equal_channels_and_relations_no_equal_shapes() -> None:
    pooled = TEACHER["c"].unflatten(2, (6, 2)).mean(dim=3)
    attention = ActivationMatching(attention_transfer, "a", "c")
    torch.testing.assert_close(attention(step()), attention_transfer(STUDENT["a"], pooled))
    relations = ActivationMatching(similarities, "bands", "c")
    torch.testing.assert_close(relations(step()), similarities(STUDENT["bands"], TEACHER["c"]))
    assert not list(attention.parameters())


@pytest.mark.parametrize("batch_first", [True, False])
def test_recurrent_and_convolutional_layers_teach_each_other(batch_first: bool) -> None:
    torch.manual_seed(0)
    features = torch.randn(4, 10, 12)
    convolution = nn.Sequential(nn.Conv1d(10, 6, kernel_size=2, stride=2))
    recurrent = nn.Sequential(nn.LSTM(10, 9, batch_first=batch_first))
    with Taps(convolution, ["0"]) as first, Taps(recurrent, ["0"]) as last:
        convolution(features)
        recurrent(features.permute(0, 2, 1) if batch_first else features.permute(2, 0, 1))
    learner = Hint(hint, "0", "0", teacher_channels="last")
    sized(learner, step(first, last))
    assert learner.projector[0].weight.shape == (9, 6, 1)
    turned = {"0": last["0"].transpose(1, 2)}
    torch.testing.assert_close(
        learner(step(first, last)), sized(Hint(hint, "0", "0"), step(first, turned))(step(first, turned))
    )
    pupil = sized(Hint(cosine, "0", "0", student_channels="last", pooled=True), step(last, first))
    assert pupil.projector[0].weight.shape == (6, 9)
    pupil(step(last, first)).sum.backward()
    assert recurrent[0].weight_ih_l0.grad.abs().sum() > 0


def test_the_log_says_which_channels_were_found(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        sized(Hint(hint, ["a", "b"], ["c", "d"]))
    assert caplog.messages == [
        "hint: 3 channels of the student's 'a' learn 7 of the teacher's 'c'",
        "hint: 5 channels of the student's 'b' learn 8 of the teacher's 'd'",
    ]


def test_half_precision_activations_are_compared_in_float32() -> None:
    low = [{path: tapped.bfloat16() for path, tapped in taps.items()} for taps in (STUDENT, TEACHER)]
    term = sized(Hint(hint, "a", "c"))
    assert term(step(*low)).sum.dtype == torch.float32


def test_layers_that_do_not_fit_are_refused_by_name() -> None:
    with pytest.raises(
        ValueError, match=r"'bands' gives \(4, 2, 4, 6\) and 'c' gives \(4, 7, 12\).*pooled=true"
    ):
        sized(Hint(hint, ["a", "bands"], ["c", "c"]))
    sized(Hint(hint, "bands", "c", pooled=True))
    build = functools.partial(ActivationMatching, attention_transfer)
    for student, teacher in ((["a", "b"], ["c"]), ("a", ["c", "d"]), ([], [])):
        with pytest.raises(ValueError, match="name as many of each, at least one"):
            build(student, teacher)
    with pytest.raises(ValueError, match="teacher_channels=middle of a transfer term: set first or last"):
        build("a", "c", teacher_channels="middle")
