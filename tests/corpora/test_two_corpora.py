"""Sentences and words side by side: in every step, on every rank, and after a restart."""

from types import SimpleNamespace

import pytest

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.corpora.speech_commands import SpeechCommands
from kd_lightning.corpora.two_corpora import CommonVoiceAndCommands, LibriTTSAndCommands
from kd_lightning.corpora.utterance_batches import UtteranceBatch
from kd_lightning.losses.labels import IGNORE


@pytest.fixture
def module(common_voice_root, corpus_root, tmp_path_factory):
    """Both small corpora, set up for a process that has trained ``position`` steps."""
    data = str(tmp_path_factory.getbasetemp() / "two_corpora")

    def make(kind=CommonVoiceAndCommands, position=0, rank=0, world_size=1, **arguments):
        def clips(**more):
            views = arguments.get("views", 1)
            fraction = arguments.get("labelled_fraction", 1.0)
            root, words = str(corpus_root), ["yes", "no", "stop"]
            return SpeechCommands(
                root, data, words, batch_size=8, views=views, labelled_fraction=fraction, **more
            )

        settings = {"root": str(common_voice_root), "data": data, "batch_seconds": 12.0, "clips": clips}
        corpus = kind(**settings | arguments)
        corpus.prepare_data()
        corpus.setup()
        done = SimpleNamespace(total=SimpleNamespace(ready=position))
        corpus.trainer = SimpleNamespace(
            global_rank=rank,
            world_size=world_size,
            fit_loop=SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=done)),
        )
        return corpus

    return make


def test_every_step_has_a_batch_of_each(module) -> None:
    corpus = module()
    loader = corpus.train_dataloader()
    steps = list(loader)
    assert len(steps) == len(loader) > 1
    assert sorted(id for step in steps for id in step.sentences.ids) == sorted(
        {id for step in steps for id in step.sentences.ids}
    )
    assert sum(len(step.sentences.ids) for step in steps) == corpus.train_size == 24
    for step in steps:
        assert isinstance(step.sentences, UtteranceBatch)
        assert isinstance(step.clips, KeywordBatch)
        assert len(step.clips.ids) == 8
        assert step.ids == step.sentences.ids + step.clips.ids
    assert corpus.clips.classes == ["yes", "no", "stop"]
    assert "<blank>" in corpus.classes


def test_a_restart_goes_on_with_the_batches_of_the_run_that_was_not_cut(module) -> None:
    steps = len(module().train_dataloader())
    uncut = [
        step.ids for epoch in range(3) for step in module(position=epoch * steps, views=4).train_dataloader()
    ]
    assert len(uncut) == 3 * steps
    for position in (1, steps - 1, steps, 2 * steps + 1):
        end = (position // steps + 1) * steps
        resumed = [step.ids for step in module(position=position, views=4).train_dataloader()]
        assert resumed == uncut[position:end]


def test_ranks_share_both_kinds_of_batches(module) -> None:
    ranks = [list(module(rank=rank, world_size=2).train_dataloader()) for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1])
    for one, other in zip(*ranks, strict=True):
        assert not set(one.sentences.ids) & set(other.sentences.ids)
        assert one.clips.ids != other.clips.ids
    held_out = [list(module(rank=rank, world_size=2).test_dataloader()) for rank in (0, 1)]
    for loaders in zip(*held_out, strict=True):
        ids = [{id for batch in loader for id in batch.ids} for loader in loaders]
        assert not ids[0] & ids[1]


def test_labels_of_both_are_hidden(module) -> None:
    taught = list(module(labelled_fraction=0.25, unlabelled=True).train_dataloader())
    alone = list(module(labelled_fraction=0.25).train_dataloader())
    assert len(taught) == len(alone)
    for steps, hidden in ((taught, True), (alone, False)):
        assert any((step.clips.labels == IGNORE).any() for step in steps) == hidden
        assert any(not step.sentences.labelled.all() for step in steps) == hidden


def test_held_out_utterances_and_clips_come_once_each(module) -> None:
    sentences, clips = module().val_dataloader()
    assert sum(len(batch.ids) for batch in sentences) == 8
    ids = [id for batch in clips for id in batch.ids]
    assert len(ids) == len(set(ids)) > 8


def test_libritts_has_words_beside_it_too(module, libritts_root) -> None:
    step = next(iter(module(LibriTTSAndCommands, root=str(libritts_root)).train_dataloader()))
    assert step.sentences.texts
    assert len(step.clips.ids) == 8


def test_labels_are_not_stored(module) -> None:
    with pytest.raises(ValueError, match=r"teacher\.stored=false"):
        module().view_facts()
