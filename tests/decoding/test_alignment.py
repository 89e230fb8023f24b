"""Word times of posteriors made by hand, and of the most probable of all paths."""

from itertools import groupby, product

import pytest
import torch

from kd_lightning.decoding.alignment import token_frames, word_times

LETTERS = ["<blank>", " ", "a", "b", "c"]


def spoken(path: list[int], classes: int) -> torch.Tensor:
    """Logits (frames, V) of which the given path is nearly certain."""
    return 10 * torch.nn.functional.one_hot(torch.tensor(path), classes).float()


def test_words_begin_with_their_first_token_and_end_with_their_last():
    #        ·  ·  a  a  ·  b  ·  _  ·  c  ·  c  ·
    path = [0, 0, 2, 2, 0, 3, 0, 1, 0, 4, 0, 4, 0]
    logits, tokens = spoken(path, 5), [2, 3, 1, 4, 4]
    assert token_frames(logits, tokens) == [(2, 4), (5, 6), (7, 8), (9, 10), (11, 12)]
    times = word_times(logits, tokens, LETTERS, 0.04)
    assert [time.word for time in times] == ["ab", "cc"]
    assert [time[1:] for time in times] == [pytest.approx((0.08, 0.24)), pytest.approx((0.36, 0.48))]


def test_pieces_of_sentencepiece_begin_words_at_their_mark():
    pieces = ["<blank>", "▁the", "▁c", "at", "▁"]
    path = [1, 0, 2, 3, 3, 0, 4, 3]
    times = word_times(spoken(path, 5), [1, 2, 3, 4, 3], pieces, 0.02)
    assert [time.word for time in times] == ["the", "cat", "at"]
    assert [time[1:] for time in times] == [
        pytest.approx((0.0, 0.02)), pytest.approx((0.04, 0.10)), pytest.approx((0.14, 0.16)),
    ]  # fmt: skip


def test_chinese_characters_are_words_and_share_the_time_of_their_piece():
    pieces = ["<blank>", "▁你好", "世"]
    times = word_times(spoken([0, 1, 0, 2], 3), [1, 2], pieces, 1.0)
    assert times == [("你", 1.0, 2.0), ("好", 1.0, 2.0), ("世", 3.0, 4.0)]


def test_the_path_is_the_most_probable_of_those_that_spell_the_text():
    for seed in range(10):
        logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed))
        tokens = [1, 2, 2]
        table = logits.double().log_softmax(-1)
        paths = [path for path in product(range(3), repeat=6) if [t for t, _ in groupby(path) if t] == tokens]
        best = max(paths, key=lambda path: float(sum(row[t] for row, t in zip(table, path, strict=True))))
        frames = token_frames(logits, tokens)
        spelt = [0] * 6
        for token, (start, end) in zip(tokens, frames, strict=True):
            spelt[start:end] = [token] * (end - start)
        assert spelt == list(best)


def test_a_text_too_long_for_the_frames_is_refused_with_both_numbers():
    assert token_frames(torch.zeros(3, 3), [1, 1]) == [(0, 1), (2, 3)]
    with pytest.raises(ValueError, match=r"needs 3 frames .* audio has 2"):
        token_frames(torch.zeros(2, 3), [1, 1])
    with pytest.raises(ValueError, match=r"needs 1 frames .* audio has 0"):
        word_times(torch.zeros(0, 3), [1], ["<blank>", "a", "b"], 0.04)


def test_silence_has_no_words():
    assert word_times(torch.zeros(0, 3), [], ["<blank>", "a", "b"], 0.04) == []
    assert word_times(torch.zeros(5, 5), [1], LETTERS, 0.04) == []
