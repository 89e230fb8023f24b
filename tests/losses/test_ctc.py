"""CTC against the sum over every path, and the consistency of two views, in float64."""

import itertools

import pytest
import torch
from torch import Tensor

from kd_lightning.losses.ctc import consistency, ctc, too_long

GENERATOR = torch.Generator().manual_seed(0)
LOGITS, OTHER = torch.randn(2, 5, 4, 3, generator=GENERATOR)
FRAMES = torch.tensor([4, 3, 4, 2, 1])
# One token, two, two equal ones, none, and two that a single frame cannot hold.
TRANSCRIPTS = [(2,), (1, 2), (2, 2), (), (1, 2)]
TOKENS = torch.tensor([[2, 0], [1, 2], [2, 2], [0, 0], [1, 2]])
TOKEN_LENGTHS = torch.tensor([1, 2, 2, 0, 2])
ALL = torch.ones(5, dtype=torch.bool)


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for token, _ in itertools.groupby(path) if token != 0)


def every_path(logits: Tensor, transcript: tuple[int, ...]) -> Tensor:
    """-log of the sum over all paths (frames tokens each) that collapse to the transcript, over its length."""
    log_probabilities = logits.double().log_softmax(dim=-1)
    frames, tokens = logits.shape
    paths = [p for p in itertools.product(range(tokens), repeat=frames) if collapsed(p) == transcript]
    scores = [log_probabilities[range(frames), list(path)].sum() for path in paths]
    return -torch.stack(scores).logsumexp(dim=0) / max(1, len(transcript))


def test_it_is_the_sum_over_every_path_in_float64_and_so_is_its_gradient() -> None:
    exact = LOGITS.double().requires_grad_()
    losses = [every_path(exact[i, : FRAMES[i]], TRANSCRIPTS[i]) for i in range(4)]
    torch.stack(losses).sum().backward()
    ours = LOGITS.clone().requires_grad_()
    summed = ctc(ours, FRAMES, TOKENS, TOKEN_LENGTHS, ALL)
    summed.sum.backward()
    assert summed.count == 4
    assert summed.sum.item() == pytest.approx(sum(loss.item() for loss in losses), rel=1e-6)
    assert ours.grad is not None
    assert exact.grad is not None
    torch.testing.assert_close(ours.grad, exact.grad.float(), rtol=1e-4, atol=1e-6)
    assert ours.grad[4].eq(0).all()  # its transcript fits no path


def test_a_transcript_is_too_long_where_no_path_spells_it() -> None:
    transcripts = [t for length in range(4) for t in itertools.product((1, 2), repeat=length)]
    cases = [(frames, transcript) for frames in range(5) for transcript in transcripts]
    tokens = torch.tensor([transcript + (0,) * (3 - len(transcript)) for _, transcript in cases])
    lengths = torch.tensor([len(transcript) for _, transcript in cases])
    frames = torch.tensor([frames for frames, _ in cases])
    spelt = [{collapsed(path) for path in itertools.product(range(3), repeat=count)} for count in range(5)]
    expected = [transcript not in spelt[count] for count, transcript in cases]
    assert too_long(frames, tokens, lengths).tolist() == expected
    assert too_long(frames, tokens[:, :0], torch.zeros_like(lengths)).logical_not().all()


def test_what_is_padding_or_hidden_changes_nothing() -> None:
    hidden = torch.tensor([True, False, True, True, False])
    few = ctc(LOGITS, FRAMES, TOKENS, TOKEN_LENGTHS, hidden)
    shown = [0, 2, 3]
    alone = [
        ctc(
            LOGITS[i : i + 1, : FRAMES[i]], FRAMES[i : i + 1], TOKENS[i : i + 1, : TOKEN_LENGTHS[i]],
            TOKEN_LENGTHS[i : i + 1], ALL[:1],
        )
        for i in shown
    ]  # fmt: skip
    torch.testing.assert_close(few.sum, sum(summed.sum for summed in alone))
    assert few.count == sum(summed.count for summed in alone) == 3
    loud, tail = LOGITS.clone(), TOKENS.clone()
    for i in range(5):
        loud[i, FRAMES[i] :] = 1e4
        tail[i, TOKEN_LENGTHS[i] :] = 1
    loud[[1, 4]] = -1e4
    torch.testing.assert_close(ctc(loud, FRAMES, tail, TOKEN_LENGTHS, hidden), few)


def test_nobody_with_a_transcript_is_zero_of_zero() -> None:
    logits = LOGITS.clone().requires_grad_()
    none = ctc(logits, FRAMES, TOKENS, TOKEN_LENGTHS, ~ALL)
    none.sum.backward()
    assert (none.sum.item(), none.count.item()) == (0.0, 0.0)
    assert logits.grad is not None
    assert logits.grad.eq(0).all()


def test_consistency_equals_its_definition_in_float64() -> None:
    p, q = LOGITS.double().softmax(dim=-1), OTHER.double().softmax(dim=-1)
    expected = 0.0
    for i in range(5):
        for t in range(FRAMES[i]):
            there = (q[i, t] * (q[i, t] / p[i, t]).log()).sum()
            back = (p[i, t] * (p[i, t] / q[i, t]).log()).sum()
            expected += (there + back).item() / 2
    valid = torch.arange(4) < FRAMES[:, None]
    summed = consistency(LOGITS, OTHER, valid)
    assert summed.sum.item() == pytest.approx(expected, rel=1e-5)
    assert summed.count == FRAMES.sum()
    torch.testing.assert_close(consistency(OTHER, LOGITS, valid), summed)
    assert consistency(LOGITS, LOGITS, valid).sum.item() == pytest.approx(0, abs=1e-6)


def test_each_view_is_drawn_to_the_other_as_it_is() -> None:
    # With the other's gradient stopped, d/dz KL(q || softmax(z)) is p - q: halved, and 0 for padding.
    first, second = LOGITS.clone().requires_grad_(), OTHER.clone().requires_grad_()
    valid = torch.arange(4) < FRAMES[:, None]
    consistency(first, second, valid).sum.backward()
    pull = (LOGITS.softmax(dim=-1) - OTHER.softmax(dim=-1)) / 2 * valid.unsqueeze(-1)
    torch.testing.assert_close(first.grad, pull)
    torch.testing.assert_close(second.grad, -pull)


def test_float32_under_autocast() -> None:
    low, other = LOGITS.bfloat16(), OTHER.bfloat16()
    valid = torch.arange(4) < FRAMES[:, None]
    with torch.autocast("cpu", torch.bfloat16):
        transcribed, consistent = ctc(low, FRAMES, TOKENS, TOKEN_LENGTHS, ALL), consistency(low, other, valid)
    assert transcribed.sum.dtype == transcribed.count.dtype == consistent.sum.dtype == torch.float32
    torch.testing.assert_close(transcribed, ctc(low.float(), FRAMES, TOKENS, TOKEN_LENGTHS, ALL))
    torch.testing.assert_close(consistent, consistency(low.float(), other.float(), valid))


def test_views_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(5, 4, 3\) and the teacher's \(1, 4, 3\)"):
        consistency(LOGITS, OTHER[:1], torch.ones(5, 4, dtype=torch.bool))
