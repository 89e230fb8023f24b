"""Next tokens of a decoder: the closed form in float64, and what does not count."""

import math

import numpy as np
import pytest
import torch

from kd_lightning.losses.tokens import next_token_cross_entropy

LOGITS = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
TOKENS = torch.tensor([[2, 4, 1], [3, 0, 0], [0, 0, 0]])
LENGTHS = torch.tensor([3, 1, 0])
ALL = torch.ones(3, dtype=torch.bool)
# What has to be said after each valid token: the sentence, and its end.
TARGETS = [[2, 4, 1, 0], [3, 0], [0]]


def float64(targets: list[list[int]], smoothing: float) -> float:
    total = 0.0
    for logits, tokens in zip(LOGITS.numpy().astype(np.float64), targets, strict=True):
        for z, token in zip(logits, tokens, strict=False):
            log_p = z - math.log(np.exp(z).sum())
            total -= (1 - smoothing) * log_p[token] + smoothing * log_p.mean()
    return total


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_it_is_its_definition_in_float64(smoothing: float) -> None:
    found = next_token_cross_entropy(LOGITS, TOKENS, LENGTHS, ALL, smoothing)
    assert found.sum.item() == pytest.approx(float64(TARGETS, smoothing), rel=1e-6)
    assert found.count == 4 + 2 + 1


def test_even_logits_say_each_token_and_the_end_with_one_in_v() -> None:
    found = next_token_cross_entropy(torch.zeros(3, 4, 5), TOKENS, LENGTHS, ALL, 0.3)
    assert (found.sum / found.count).item() == pytest.approx(math.log(5))


def test_unlabelled_utterances_and_padding_count_nowhere() -> None:
    logits, tokens = LOGITS.clone().requires_grad_(), TOKENS.clone()
    tokens[1, 1:] = 4  # whatever the padding holds
    found = next_token_cross_entropy(logits, tokens, LENGTHS, torch.tensor([False, True, True]), 0.1)
    assert found.sum.item() == pytest.approx(float64([[], [3, 0], [0]], 0.1), rel=1e-6)
    assert found.count == 3
    found.sum.backward()
    assert logits.grad is not None
    heard = logits.grad.abs().sum(dim=2) > 0
    assert heard.tolist() == [[False] * 4, [True, True, False, False], [True, False, False, False]]


def test_a_batch_without_labels_is_zero_of_zero() -> None:
    logits = LOGITS.clone().requires_grad_()
    nothing = next_token_cross_entropy(logits, TOKENS, LENGTHS, ~ALL, 0.1)
    nothing.sum.backward()
    assert (nothing.sum.item(), nothing.count.item()) == (0.0, 0.0)
    assert logits.grad is not None
    assert logits.grad.eq(0).all()


def test_a_batch_of_empty_sentences_only_ends() -> None:
    found = next_token_cross_entropy(LOGITS[:, :1], TOKENS[:, :0], torch.zeros(3, dtype=torch.int64), ALL)
    assert found.sum.item() == pytest.approx(
        -LOGITS[:, 0].double().log_softmax(1)[:, 0].sum().item(), rel=1e-6
    )
    assert found.count == 3


def test_float32_under_autocast() -> None:
    low = LOGITS.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = next_token_cross_entropy(low, TOKENS, LENGTHS, ALL)
    assert found.sum.dtype == found.count.dtype == torch.float32
    torch.testing.assert_close(found, next_token_cross_entropy(low.float(), TOKENS, LENGTHS, ALL))
