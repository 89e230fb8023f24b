"""What a teacher is asked: every utterance of a block, in one view, with others of its length or alone."""

import numpy as np
import pytest

from kd_lightning.corpora.buckets import EachView, Item
from kd_lightning.labels.format import Unit

SECONDS = np.random.default_rng(0).uniform(0.5, 9.0, 300).astype(np.float32)
UNITS = [Unit(1, 100, 250), Unit(0, 0, 100)]


@pytest.mark.parametrize("batch_seconds", [0.0, 40.0])
def test_every_utterance_of_a_block_is_heard_once_in_its_view(batch_seconds: float) -> None:
    batches = EachView(UNITS, SECONDS, batch_seconds)
    heard = [item for batch in batches for item in batch]
    assert sorted(heard[:150]) == [Item(utterance, 1) for utterance in range(100, 250)]
    assert sorted(heard[150:]) == [Item(utterance, 0) for utterance in range(100)]
    assert len(batches) == len(list(batches))
    assert all(len({item.view for item in batch}) == 1 for batch in batches)


def test_no_seconds_mean_utterances_alone() -> None:
    assert {len(batch) for batch in EachView(UNITS, SECONDS, 0.0)} == {1}


def test_the_longest_come_first_and_no_batch_is_longer_than_its_seconds() -> None:
    lengths = [SECONDS[[item.utterance for item in batch]] for batch in EachView(UNITS[:1], SECONDS, 40.0)]
    assert all(batch.max() * len(batch) <= 40.0 for batch in lengths)
    together = np.concatenate(lengths)
    assert (np.diff(together) <= 0).all()
