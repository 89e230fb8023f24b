"""Search over a decoder that is a table, against every sentence there is."""

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from kd_lightning.decoding.attention import search


class TableDecoder:
    """The next token depends on the utterance, the last two tokens and how many frames were heard."""

    def __init__(self, utterances: int, classes: int = 4, end: float = 0.0, seed: int = 0) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.table = 2 * torch.randn(utterances, classes, classes, classes, generator=draw)
        self.table[..., 0] += end
        self.calls = 0

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return features.transpose(1, 2), lengths

    def score_next(self, memory: Tensor, lengths: Tensor, prefix: Tensor) -> Tensor:
        assert len(memory) == len(lengths) == len(prefix) > 0
        self.calls += 1
        last = torch.nn.functional.pad(prefix, (2, 0))[:, -2:]
        return self.table[memory[:, 0, 0].long(), last[:, 0], last[:, 1]]


def batch_of(*lengths: int) -> tuple[Tensor, Tensor]:
    """Features (B, 1, frames) that name their utterance."""
    features = torch.arange(len(lengths)).float()[:, None, None].expand(-1, 1, max(lengths))
    return features, torch.tensor(lengths)


def log_probability(decoder: TableDecoder, utterance: int, spoken: tuple[int, ...]) -> float:
    total, last = 0.0, (0, 0)
    for token in spoken:
        total += float(decoder.table[utterance][last].double().log_softmax(-1)[token])
        last = (last[1], token)
    return total


def every_sentence(decoder: TableDecoder, utterance: int, limit: int) -> dict[tuple[int, ...], float]:
    """Sentences that end within ``limit`` tokens, and those that are cut off there."""
    classes = decoder.table.shape[1]
    ended = [(*words, 0) for n in range(limit) for words in product(range(1, classes), repeat=n)]
    cut = list(product(range(1, classes), repeat=limit))
    return {one: log_probability(decoder, utterance, one) for one in [*ended, *cut]}


def test_a_wide_beam_finds_every_sentence_with_its_probability():
    decoder = TableDecoder(2, classes=3)
    found = search(decoder, *batch_of(2, 1), beam=40)
    for utterance, limit in ((0, 4), (1, 2)):  # two tokens a frame
        truth = every_sentence(decoder, utterance, limit)
        spoken = [(*one.tokens, 0) if one.ended else tuple(one.tokens) for one in found[utterance]]
        assert sorted(spoken) == sorted(truth)
        for one, words in zip(found[utterance], spoken, strict=True):
            assert one.score == pytest.approx(truth[words], abs=1e-4)
            assert one.confidence == pytest.approx(math.exp(truth[words] / len(words)), rel=1e-4)
        ranks = [(not one.ended, -one.score) for one in found[utterance]]
        assert ranks == sorted(ranks)
        assert sum(math.exp(one.score) for one in found[utterance]) == pytest.approx(1.0, abs=1e-4)


def test_a_beam_of_one_takes_the_best_token_at_each_step():
    decoder = TableDecoder(5, end=1.0)
    for utterance, (one,) in enumerate(search(decoder, *batch_of(*[6] * 5))):
        words, last = [], (0, 0)
        while len(words) < 12 and (not words or words[-1]):
            words.append(int(decoder.table[utterance][last].argmax()))
            last = (last[1], words[-1])
        assert one.tokens == [word for word in words if word]
        assert one.ended == (words[-1] == 0)
        assert one.score == pytest.approx(log_probability(decoder, utterance, tuple(words)), abs=1e-4)


def test_a_beam_finds_what_greedy_search_walks_past():
    decoder = TableDecoder(1, classes=3)
    decoder.table[:] = -30.0
    decoder.table[0, 0, 0, 1:] = torch.tensor([0.55, 0.45]).log()
    decoder.table[0, 0, 1] = torch.tensor([1 / 3] * 3).log()
    decoder.table[0, 0, 2, 0] = 0.0
    decoder.table[0, 1, :, 0] = 0.0
    assert search(decoder, *batch_of(4))[0][0].tokens != [2]
    best = search(decoder, *batch_of(4), beam=3)[0][0]
    assert best.tokens == [2]
    assert math.exp(best.score) == pytest.approx(0.45, rel=1e-4)


def test_a_decoder_that_never_ends_is_cut_off_and_says_so():
    decoder = TableDecoder(2, end=-1e4)
    found = search(decoder, *batch_of(7, 3), beam=3)
    assert [{len(one.tokens) for one in hypotheses} for hypotheses in found] == [{14}, {6}]
    assert not any(one.ended for hypotheses in found for one in hypotheses)
    assert decoder.calls == 14
    decoder.max_positions = 5
    assert [len(one.tokens) for (one,) in search(decoder, *batch_of(7, 1))] == [5, 2]
    ((one,),) = search(decoder, *batch_of(7), tokens_per_frame=0.5)
    assert len(one.tokens) == 4


def test_what_ended_comes_before_what_was_cut_off():
    decoder = TableDecoder(1, end=-4.0)
    found = search(decoder, *batch_of(2), beam=40)[0]
    ended = [one.ended for one in found]
    assert True in ended
    assert False in ended
    assert ended == sorted(ended, reverse=True)
    assert max(one.score for one in found if not one.ended) > found[0].score


def test_an_utterance_alone_and_in_a_ragged_batch_gives_the_same_sentences():
    decoder = TableDecoder(3, end=-1.0)
    features, lengths = batch_of(9, 2, 5)
    together = search(decoder, features, lengths, beam=4)
    for row, length in enumerate(lengths.tolist()):
        (alone,) = search(decoder, features[row : row + 1, :, :length], lengths[row : row + 1], beam=4)
        assert [one.tokens for one in alone] == [one.tokens for one in together[row]]
        assert [one.score for one in alone] == pytest.approx([one.score for one in together[row]])


def test_the_length_exponent_prefers_longer_sentences():
    decoder = TableDecoder(1, classes=2)
    decoder.table[..., 0], decoder.table[..., 1] = math.log(0.4), math.log(0.6)
    short = search(decoder, *batch_of(3), beam=20)[0][0]
    long = search(decoder, *batch_of(3), beam=20, length_exponent=1.0)[0]
    assert short.tokens == []
    assert len(long[0].tokens) == 5
    means = [one.score / (len(one.tokens) + 1) for one in long if one.ended]
    assert means == sorted(means, reverse=True)


def test_an_utterance_without_frames_may_say_one_token():
    decoder = TableDecoder(1)
    features = torch.zeros(1, 1, 3)
    ((one,),) = search(decoder, features, torch.tensor([0]))
    assert len(one.tokens) + one.ended == 1
