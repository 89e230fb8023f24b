"""Which clips come when."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from kd_lightning.corpora.batches import ClipStream, EachOnce, EachView, Item
from kd_lightning.labels.format import Unit


def stream(
    clips: int = 10,
    epoch_clips: int = 10,
    batch_size: int = 4,
    views: int = 3,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    position: int = 0,
) -> ClipStream:
    return ClipStream(
        np.arange(clips), epoch_clips, batch_size, views, seed, rank, world_size, lambda: position
    )


def whole(batches: int, **settings: int) -> list[list[Item]]:
    """The first ``batches`` batches, epoch after epoch."""
    seen: list[list[Item]] = []
    while len(seen) < batches:
        seen += list(stream(position=len(seen), **settings))
    return seen[:batches]


def test_each_pass_shows_every_clip_once_in_the_next_view() -> None:
    items = [item for batch in whole(15, batch_size=4, clips=10, views=3) for item in batch]
    for number in range(6):
        one_pass = items[10 * number : 10 * number + 10]
        assert sorted(item.clip for item in one_pass) == list(range(10))
        assert {item.view for item in one_pass} == {number % 3}


def test_passes_are_shuffled_differently_and_by_the_seed() -> None:
    first, second = (
        [item.clip for item in batch] for batch in whole(2, clips=50, epoch_clips=50, batch_size=50)
    )
    assert first != second
    assert first != [item.clip for item in whole(1, clips=50, epoch_clips=50, batch_size=50, seed=1)[0]]
    assert first != list(range(50))


@pytest.mark.parametrize("position", [0, 1, 4, 5, 13])
def test_a_restart_at_any_position_goes_on_as_if_nothing_had_happened(position: int) -> None:
    unbroken = whole(20, clips=23, epoch_clips=23, batch_size=4)
    resumed = list(stream(clips=23, epoch_clips=23, batch_size=4, position=position))
    epoch = 23 // 4
    assert len(resumed) == epoch - position % epoch
    assert resumed == unbroken[position : position + len(resumed)]


def test_iterating_twice_gives_the_same_because_only_training_moves_the_position() -> None:
    loader = stream()
    assert list(loader) == list(loader)


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_batch_of_one_process_that_is_as_many_times_larger(world_size: int) -> None:
    alone = whole(6, clips=31, epoch_clips=31, batch_size=4 * world_size)
    ranks = [
        whole(6, clips=31, epoch_clips=31, batch_size=4, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    assert [list(chain(*parts)) for parts in zip(*ranks, strict=True)] == alone


def test_an_epoch_has_the_same_steps_whether_few_or_all_clips_are_drawn_from() -> None:
    few, every = (
        stream(clips=7, epoch_clips=100, batch_size=8),
        stream(clips=100, epoch_clips=100, batch_size=8),
    )
    assert len(few) == len(every) == len(list(few)) == 12


def test_fewer_clips_than_a_batch_still_make_one() -> None:
    assert [len(batch) for batch in stream(clips=2, epoch_clips=2, batch_size=5)] == [5]


def test_nothing_to_draw_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="no clips"):
        stream(clips=0)


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_evaluation_sees_every_clip_once_over_all_ranks(world_size: int) -> None:
    ranks = [EachOnce(7, 2, rank, world_size) for rank in range(world_size)]
    items = [item for rank in ranks for batch in rank for item in batch]
    assert Counter(item.clip for item in items) == Counter(range(7))
    assert all(len(list(rank)) == len(rank) for rank in ranks)


def test_the_last_evaluation_batch_is_kept() -> None:
    assert [len(batch) for batch in EachOnce(7, 3, 0, 1)] == [3, 3, 1]


def test_each_view_asks_block_after_block_in_batches_that_end_with_it() -> None:
    sampler = EachView([Unit(0, 0, 5), Unit(3, 5, 7)], 2)
    assert list(sampler) == [
        [Item(0, 0), Item(1, 0)],
        [Item(2, 0), Item(3, 0)],
        [Item(4, 0)],
        [Item(5, 3), Item(6, 3)],
    ]
    assert len(sampler) == 4
    assert list(EachView([], 2)) == []
