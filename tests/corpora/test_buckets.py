"""Batches by length: little padding, nothing lost, the same on every number of ranks and after a restart."""

import numpy as np
import pytest

from kd_lightning.corpora.buckets import Buckets, EachOnce, Item, pack, padding_share


def lengths(count: int = 2000) -> np.ndarray:
    """Like read speech: most of some seconds, a few long."""
    return np.random.default_rng(0).gamma(6.0, 0.8, count).astype(np.float32) + 0.5


def stream(
    seconds: np.ndarray, *, position: int = 0, rank: int = 0, ranks: int = 1, views: int = 4
) -> Buckets:
    chosen = np.arange(len(seconds)) * 3
    return Buckets(chosen, lambda _: seconds, 100, 120.0 / ranks, views, 7, rank, ranks, lambda: position)


def first_pass(seconds: np.ndarray) -> list[list[Item]]:
    batches, position = [], 0
    while True:
        for batch in stream(seconds, position=position):
            if batch[0].view:
                return batches
            batches.append(batch)
        position += 100


def test_a_pass_shows_every_utterance_once_and_the_next_one_another_view() -> None:
    seconds = lengths(700)
    seen = [item for batch in first_pass(seconds) for item in batch]
    assert sorted(item.utterance for item in seen) == list(range(0, 2100, 3))
    assert {item.view for item in seen} == {0}


def test_padding_is_below_five_per_cent_and_far_below_that_of_random_batches() -> None:
    seconds = lengths()
    batches = [np.array([item.utterance // 3 for item in batch]) for batch in first_pass(seconds)]
    shuffled = np.array_split(np.random.default_rng(1).permutation(len(seconds)), len(batches))
    assert padding_share(seconds, batches) < 0.05
    assert padding_share(seconds, shuffled) > 0.4


def test_batches_hold_views_of_about_the_same_length() -> None:
    files = lengths()
    speeds = np.random.default_rng(2).uniform(0.9, 1.1, (2, len(files)))
    views = Buckets(
        np.arange(len(files)), lambda view: files / speeds[view], 1000, 120.0, 2, 7, 0, 1, lambda: 0
    )
    for view in range(2):
        batches = [np.array([item.utterance for item in batch]) for batch in views if batch[0].view == view]
        heard = files / speeds[view]
        assert padding_share(heard, batches) < 0.05
        assert all(heard[batch].max() * len(batch) <= 120.0 + 1e-3 for batch in batches)
        assert padding_share(files, batches) > 0.05  # of the files at their own speed


def test_an_epoch_can_be_read_again_whatever_was_read_since() -> None:
    batches = stream(lengths(300))
    assert len({batch[0].view for batch in batches}) > 1  # 300 utterances are fewer than 100 batches
    assert list(batches) == list(batches) == list(stream(lengths(300)))


def test_no_batch_holds_more_than_its_seconds() -> None:
    seconds = lengths()
    for batch in first_pass(seconds):
        chosen = seconds[[item.utterance // 3 for item in batch]]
        assert chosen.max() * len(chosen) <= 120.0 + 1e-3


def test_passes_are_cut_differently_but_from_the_seed_alone() -> None:
    seconds = lengths(300)
    assert list(stream(seconds)) == list(stream(seconds))
    together = [{item.utterance for item in batch} for batch in stream(seconds)]
    passes = len(first_pass(seconds))
    assert all(batch not in together[:passes] for batch in together[passes : 2 * passes])


def test_a_restart_goes_on_with_the_batch_that_comes_next() -> None:
    seconds = lengths(300)
    assert list(stream(seconds, position=37)) == list(stream(seconds))[37:]
    assert list(stream(seconds, position=100)) == list(stream(seconds, position=100))
    assert len(list(stream(seconds, position=100))) == 100


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_batches_of_one_process(ranks: int) -> None:
    seconds = lengths(500)
    whole = list(stream(seconds))
    parts = [list(stream(seconds, rank=rank, ranks=ranks)) for rank in range(ranks)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert sorted(batch) == sorted(item for share in shares for item in share)
        assert min(map(len, shares)) >= 1


def test_an_utterance_longer_than_a_batch_is_a_batch_of_its_own() -> None:
    assert pack(np.array([90.0, 9.0, 8.0, 2.0], np.float32), 20.0, 1) == [(0, 1), (1, 3), (3, 4)]
    assert pack(np.array([9.0, 9.0, 1.0], np.float32), 18.0, 2) == [(0, 3)]


def test_evaluation_hears_every_utterance_once_over_all_ranks() -> None:
    seconds = lengths(101)
    heard = [item for rank in range(2) for batch in EachOnce(seconds, 60.0, rank, 2) for item in batch]
    assert sorted(heard) == [Item(number, 0) for number in range(101)]


def test_fewer_utterances_than_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="1 utterances to draw from, for 2 processes"):
        stream(lengths(1), ranks=2)
