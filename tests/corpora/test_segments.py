"""Segments for vocoders: where they lie, that they can be drawn again anywhere, and whole recordings to test."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_voice import RATE, SPEAKERS, write_voice

from kd_lightning.corpora.segment_batches import SegmentBatch, segment_start
from kd_lightning.corpora.synthesis import Segments
from kd_lightning.labels.format import Unit

HOP = 300
SEGMENT = 12000  # half a second, forty hops


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_voice(tmp_path_factory.mktemp("voice") / "LibriTTS", phones=False)


@pytest.fixture(scope="module")
def module(root, tmp_path_factory):
    """A data module over the small voice, set up."""
    data = tmp_path_factory.mktemp("data")

    def make(**arguments) -> Segments:
        usual = {
            "root": str(root),
            "data": str(data),
            "sample_rate": RATE,
            "hop_length": HOP,
            "batch_size": 4,
        }
        corpus = Segments(**usual | arguments)
        corpus.prepare_data()
        corpus.setup()
        return corpus

    return make


def epochs(corpus: Segments, count: int) -> list[SegmentBatch]:
    """The batches of the first epochs."""
    batches: list[SegmentBatch] = []
    corpus._position = lambda: len(batches)  # of the trainer that there is not
    for _ in range(count):
        batches += list(corpus.train_dataloader())
    return batches


def recordings(root: Path) -> dict[str, torch.Tensor]:
    return {
        path.stem: torch.from_numpy(soundfile.read(path, dtype="float32")[0]) for path in root.rglob("*.wav")
    }


def place_of(segment: torch.Tensor, recording: torch.Tensor) -> int:
    """Where in a recording, which is noise, a segment was cut out."""
    windows = recording.unfold(0, len(segment), HOP)
    (place,) = (windows == segment).all(dim=1).nonzero().flatten().tolist()
    return place


def test_a_segment_starts_at_any_hop_with_equal_probability() -> None:
    starts = Counter(segment_start(0, "a", view, 5 * HOP, 2 * HOP, HOP) for view in range(4000))
    assert sorted(starts) == [0, HOP, 2 * HOP, 3 * HOP]
    # Four standard deviations of a binomial count.
    assert all(abs(count - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5 for count in starts.values())


@pytest.mark.parametrize(("samples", "starts"), [(1, {0}), (7, {0}), (9, {0}), (10, {0, 3}), (13, {0, 3, 6})])
def test_a_segment_lies_in_its_recording(samples: int, starts: set[int]) -> None:
    assert {segment_start(1, "b", view, samples, 7, 3) for view in range(200)} == starts


def test_a_start_follows_from_seed_cut_and_view() -> None:
    def starts(seed: int, id: str) -> list[int]:
        return [segment_start(seed, id, view, 10**6, 100, 1) for view in range(50)]

    assert starts(0, "a") == starts(0, "a")
    assert len({*starts(0, "a"), *starts(1, "a"), *starts(0, "b")}) > 145


def test_segments_are_cut_out_of_their_recordings(module, root) -> None:
    files = recordings(root)
    places = set()
    batches = epochs(module(), 4)
    for batch in batches:
        assert batch.waveform.shape == (4, SEGMENT)
        assert (batch.samples == SEGMENT).all()
        for id, waveform in zip(batch.ids, batch.waveform, strict=True):
            places.add((id, place_of(waveform, files[id])))
    assert len(batches) == 4 * 3
    assert len({id for id, _ in places}) == 12
    assert len(places) > 40


def test_views_come_one_after_another_and_then_again(module) -> None:
    heard: dict[str, list[torch.Tensor]] = {}
    for batch in epochs(module(views=2), 4):
        for id, waveform in zip(batch.ids, batch.waveform, strict=True):
            heard.setdefault(id, []).append(waveform)
    for one, other, *again in heard.values():
        assert not torch.equal(one, other)
        assert torch.equal(one, again[0])
        assert torch.equal(other, again[1])


def test_a_segment_does_not_depend_on_the_batch_that_it_is_in(module) -> None:
    heard: dict[str, torch.Tensor] = {}
    for size in (4, 3, 12):
        for batch in epochs(module(batch_size=size), 1):
            for id, waveform in zip(batch.ids, batch.waveform, strict=True):
                assert torch.equal(heard.setdefault(id, waveform), waveform)
    assert len(heard) == 12


def test_short_recordings_are_followed_by_zeros(module, root) -> None:
    files = recordings(root)
    batch = epochs(module(segment_seconds=10.0), 1)[0]
    assert batch.waveform.shape == (4, 10 * RATE)
    for id, waveform, samples in zip(batch.ids, batch.waveform, batch.samples.tolist(), strict=True):
        assert samples == len(files[id])
        assert torch.equal(waveform[:samples], files[id])
        assert not waveform[samples:].any()


def test_recordings_are_tested_whole(module, root) -> None:
    files = recordings(root)
    corpus = module()
    for loader in (corpus.val_dataloader(), corpus.test_dataloader()):
        seen = []
        for batch in loader:
            assert batch.waveform.shape[1] % HOP == 0
            assert batch.waveform.shape[1] - int(batch.samples.max()) < HOP
            for id, waveform, samples in zip(batch.ids, batch.waveform, batch.samples.tolist(), strict=True):
                assert torch.equal(waveform[:samples], files[id])
                assert not waveform[samples:].any()
            seen += batch.ids
        assert len(seen) == len(set(seen)) == 4


def test_recordings_that_are_not_to_be_learnt_from_are_there(module) -> None:
    corpus = module(labelled_fraction=0.25, unlabelled=True)
    batches = epochs(corpus, 1)
    assert corpus.labelled_size == sum(int(batch.labelled.sum()) for batch in batches) == 3
    assert all(batch.waveform.any(dim=1).all() for batch in batches)
    few = epochs(module(labelled_fraction=0.25), 1)
    assert len(few) == len(batches) == 3
    assert len({id for batch in few for id in batch.ids}) == 3


def test_an_epoch_that_was_cut_off_goes_on_where_it_was(module) -> None:
    corpus = module()
    whole = list(corpus.train_dataloader())
    corpus._position = lambda: 1
    rest = list(corpus.train_dataloader())
    assert len(rest) == 2
    for one, other in zip(rest, whole[1:], strict=True):
        assert one.ids == other.ids
        assert torch.equal(one.waveform, other.waveform)


def test_two_processes_hear_together_what_one_hears(module) -> None:
    def heard(rank: int, world_size: int, size: int) -> list[list[str]]:
        corpus = module(batch_size=size)
        corpus._rank = lambda: (rank, world_size)
        return [batch.ids for batch in corpus.train_dataloader()]

    first, second, both = heard(0, 2, 2), heard(1, 2, 2), heard(0, 1, 4)
    assert [one + other for one, other in zip(first, second, strict=True)] == both


def test_a_teacher_hears_the_segments_of_a_view(module) -> None:
    corpus = module()
    by_view = {}
    for view in range(2):
        unit = Unit(view, 2, 9)
        batches = list(corpus.views_dataloader([unit], 1.6))
        assert [len(batch.ids) for batch in batches] == [3, 3, 1]
        assert sorted(id for batch in batches for id in batch.ids) == sorted(corpus.view_ids(unit))
        by_view[view] = {
            id: waveform for batch in batches for id, waveform in zip(batch.ids, batch.waveform, strict=True)
        }
    assert not any(torch.equal(by_view[0][id], by_view[1][id]) for id in by_view[0])


def test_what_labels_follow_from(module) -> None:
    facts = module().view_facts()
    assert facts == module(labelled_fraction=0.5, batch_size=2).view_facts()
    for other in ({"seed": 1}, {"segment_seconds": 0.25}, {"views": 3}, {"sample_rate": 16000}):
        assert facts != module(**other).view_facts()


def test_segments_are_whole_hops(module) -> None:
    batch = epochs(module(segment_seconds=0.3, hop_length=256), 1)[0]
    assert batch.waveform.shape[1] == 28 * 256  # 7200 samples are 28.1 hops
    with pytest.raises(ValueError, match=r"corpus\.segment_seconds=0\.001 is shorter than a hop of 300"):
        module(segment_seconds=0.001)


def test_speakers_and_left_out_recordings_are_as_for_sentences(module, tmp_path) -> None:
    assert module().speakers == sorted(SPEAKERS)
    written = write_voice(tmp_path / "LibriTTS", phones=False)
    silent = next((written / "train-clean-100").rglob("*.wav"))
    soundfile.write(silent, np.zeros(RATE), RATE)
    corpus = module(root=str(written), data=str(tmp_path))
    assert "silent" in corpus.skipped[silent.stem]
    assert corpus.train_size == 11
