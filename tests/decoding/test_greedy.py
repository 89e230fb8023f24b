"""The best path, collapsed by hand."""

from itertools import groupby

import pytest
import torch

from kd_lightning.decoding.greedy import greedy


def scores_of(paths: list[list[int]], probability: float = 0.7, classes: int = 4) -> torch.Tensor:
    """Logits whose best path is the given one, each token with that probability."""
    probabilities = torch.full((len(paths), max(map(len, paths)), classes), (1 - probability) / (classes - 1))
    for row, path in enumerate(paths):
        probabilities[row, torch.arange(len(path)), torch.tensor(path)] = probability
    return probabilities.log()


def test_repeats_merge_and_blanks_part_equal_tokens():
    paths = [[1, 1, 0, 1, 2, 2], [0, 3, 3, 0, 0, 3], [2, 1, 2, 1, 2, 1], [0, 0, 0, 0, 0, 0]]
    found = greedy(scores_of(paths), torch.full((4,), 6))
    assert [one.tokens for one in found] == [[1, 1, 2], [3, 3], [2, 1, 2, 1, 2, 1], []]


def test_a_random_batch_equals_a_loop_over_utterances_whatever_lies_in_the_padding():
    logits = torch.randn(16, 30, 5, generator=torch.Generator().manual_seed(0)) * 3
    lengths = torch.randint(0, 31, (16,), generator=torch.Generator().manual_seed(1))
    for one, utterance, length in zip(greedy(logits, lengths), logits, lengths.tolist(), strict=True):
        log_probs, path = utterance[:length].double().log_softmax(-1).max(-1)
        assert one.tokens == [token for token, _ in groupby(path.tolist()) if token]
        assert one.score == pytest.approx(float(log_probs.sum()), rel=1e-5)
        heard = log_probs[path > 0]
        assert one.confidence == pytest.approx(float(heard.mean().exp()) if len(heard) else 0.0, rel=1e-5)
        assert one.ended


def test_confidence_is_that_of_the_spoken_frames_and_blanks_do_not_raise_it():
    doubtful = scores_of([[1, 2, 0, 0]], 0.5)
    doubtful[:, 2:] = scores_of([[0, 0]], 0.999)
    assert greedy(doubtful, torch.tensor([4]))[0].confidence == pytest.approx(0.5)
    assert greedy(scores_of([[0, 0, 0]], 0.9), torch.tensor([3]))[0].confidence == pytest.approx(0.9)


def test_no_frames_no_words_and_no_confidence():
    found = greedy(torch.zeros(2, 0, 4), torch.zeros(2, dtype=torch.int64))
    assert found == [([], 0.0, 0.0, True)] * 2
    assert greedy(scores_of([[1, 2]]), torch.tensor([0])) == [([], 0.0, 0.0, True)]
