"""The perplexity of a decoder's tokens beside closed forms."""

import math

import pytest
import torch

from kd_lightning.metrics.perplexity import TokenPerplexity

TOKENS, LENGTHS = torch.tensor([[1, 2, 3], [4, 0, 0]]), torch.tensor([3, 1])


def perplexity(*batches) -> float:
    metric = TokenPerplexity()
    for batch in batches:
        metric.update(*batch)
    return float(metric.compute())


def test_who_knows_nothing_has_as_many_as_there_are_tokens() -> None:
    assert perplexity((torch.zeros(2, 4, 5), TOKENS, LENGTHS)) == pytest.approx(5.0)


def test_who_knows_all_has_one() -> None:
    told = torch.nn.functional.one_hot(torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0]]), 5)
    assert perplexity((100.0 * told, TOKENS, LENGTHS)) == pytest.approx(1.0)


def test_it_is_the_geometric_mean_over_the_tokens_and_the_ends() -> None:
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    log = logits.double().log_softmax(dim=2)
    spoken = [log[0, 0, 1], log[0, 1, 2], log[0, 2, 3], log[0, 3, 0], log[1, 0, 4], log[1, 1, 0]]
    expected = math.exp(-sum(map(float, spoken)) / 6)
    assert perplexity((logits, TOKENS, LENGTHS)) == pytest.approx(expected, rel=1e-6)
    # However the sentences are batched, and whatever is in the padding.
    one, other = (logits[:1], TOKENS[:1], LENGTHS[:1]), (logits[1:, :2], TOKENS[1:, :1], LENGTHS[1:])
    assert perplexity(one, other) == pytest.approx(expected, rel=1e-6)
