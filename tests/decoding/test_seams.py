"""Where one window of long audio hands over to the next."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from kd_lightning.decoding.seams import pause, quietest, windows

LETTERS = ["<blank>", " ", "a", "b", "c"]


def logits(path: str) -> Tensor:
    """Logits that are nearly certain of a path, where "." is blank and "_" a space."""
    return 10 * one_hot(torch.tensor(["._abc".index(each) for each in path]), 5).float()


def test_windows_cover_everything_and_overlap_by_a_third():
    for frames in range(1, 400):
        for longest in (3, 4, 9, 50):
            spans = windows(frames, longest)
            assert spans[0][0] == 0
            assert spans[-1][1] == frames
            assert all(end - start == min(longest, frames) for start, end in spans)
            for (_, end), (start, _) in pairwise(spans):
                assert end - start >= longest // 3


def test_every_frame_is_in_two_windows_at_most_in_the_middle_of_their_overlaps():
    for frames in range(51, 600):
        spans = windows(frames, 50)
        searched = []
        for (_, end), (start, _) in pairwise(spans):
            quarter = (end - start) // 4
            searched.append((start + quarter, end - quarter))
        assert all(one[1] <= other[0] + 1 for one, other in pairwise(searched))


def test_the_seam_is_in_the_longest_pause_between_words_of_both():
    #               |-- middle ---|
    left = "ab.....ab_..bca_.....c......"
    right = "....b..ab_...bca_....c......"
    assert pause(logits(left), logits(right), LETTERS) == 18
    left = "a......................_...a"
    right = "a......b_a.c_.b......_a....a"
    assert pause(logits(left), logits(right), LETTERS) == 18


def test_a_silence_inside_a_word_is_no_seam_while_there_is_another():
    path = logits("c.b_...a.......a..._..b.c..a")
    assert pause(path, path, LETTERS) == 18  # of 16 to 20, the last that is searched
    path = logits("c.b....a.......a......b.c..a")
    assert pause(path, path, LETTERS) == 11


def test_spaces_fill_pauses_as_well_as_blanks():
    left, right = logits("a...c.b.....a____._b.c.a...."), logits("a...c.b.....a.___.__b.c.a...")
    assert pause(left, right, LETTERS) == 16


def test_a_space_that_one_window_misses_is_none():
    left, right = logits("........a.._..b.._..a..."), logits("........a.....b._...a...")
    assert pause(left, right, LETTERS) == 16


def test_pieces_begin_words_and_chinese_characters_are_words():
    path = torch.tensor([0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0])
    scores = one_hot(path, 3).float()
    assert pause(scores, scores, ["<blank>", "▁the", "▁cat"]) == 8
    assert pause(scores, scores, ["<blank>", "▁the", "cat"]) == 11  # "cat" goes on, "▁the" begins
    assert pause(scores, scores, ["<blank>", "你", "好"]) == 8


def test_without_a_common_blank_the_seam_is_where_both_doubt_most():
    scores = logits("a" * 16)
    scores[9, 0] = 9.0
    assert pause(scores, scores, LETTERS) == 9
    assert pause(logits("a"), logits("b"), LETTERS) == 0


def test_the_quietest_stretch_is_longer_than_a_dip():
    levels = np.ones(40)
    levels[15] = 0.0
    levels[22:27] = 0.3
    assert quietest(levels, 5) == 24
    levels[2:8] = 0.0  # one of both windows has just begun
    assert quietest(levels, 5) == 24


@pytest.mark.parametrize("overlap", range(1, 12))
def test_there_is_a_seam_in_the_shortest_overlap(overlap: int):
    assert 0 <= pause(logits("." * overlap), logits("." * overlap), LETTERS) < overlap
    assert 0 <= quietest(np.zeros(overlap), 1) < overlap
