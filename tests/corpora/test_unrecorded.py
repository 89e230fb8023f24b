"""Text that nobody recorded: further training sentences, of which there is nothing but what is said and by whom."""

import pickle
from collections import Counter
from pathlib import Path

import pytest
import torch
from small_voice import RATE, SPEAKERS, write_voice

from kd_lightning.corpora.spoken_batches import SpokenBatch
from kd_lightning.corpora.synthesis import SpokenSentences
from kd_lightning.corpora.unrecorded import read_lines
from kd_lightning.labels.format import Unit

TEXT = "We went home.\n\n  Yes, they saw the apples!  \nWill you buy the old house?\nNo, my friend.\n"
IDS = ["text_000001", "text_000003", "text_000004", "text_000005"]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_voice(tmp_path_factory.mktemp("voice") / "LibriTTS")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def module(root, data, tmp_path):
    """A data module over the small voice and a text, set up to learn from a teacher."""

    def make(content: str | None = TEXT, **arguments) -> SpokenSentences:
        if content is not None:
            path = tmp_path / "sentences.txt"
            path.write_text(content, encoding="utf-8")
            arguments["text"] = str(path)
        usual = {"root": str(root), "data": str(data), "sample_rate": RATE, "batch_seconds": 6.0}
        corpus = SpokenSentences(**usual | {"unlabelled": True} | arguments)
        corpus.prepare_data()
        corpus.setup()
        return corpus

    return make


def every(loader) -> dict[str, tuple[SpokenBatch, int]]:
    return {id: (batch, row) for batch in loader for row, id in enumerate(batch.ids)}


def all_of(corpus: SpokenSentences) -> dict[str, tuple[SpokenBatch, int]]:
    """Every training sentence, as a teacher is asked for it."""
    return every(corpus.views_dataloader([Unit(0, 0, corpus.train_size)], 6.0))


def test_every_sentence_of_the_text_is_one_that_was_never_heard(module) -> None:
    corpus = module(pitch=True)
    there = all_of(corpus)
    assert sorted(set(there) - set(all_of(module(None)))) == IDS
    assert corpus.view_ids(Unit(0, 12, 16)) == IDS
    assert (corpus.train_size, corpus.unrecorded_size, corpus.labelled_size) == (16, 4, 12)
    said = dict(zip(IDS, [line.strip() for line in TEXT.splitlines() if line.strip()], strict=True))
    for id, text in said.items():
        batch, row = there[id]
        length = int(batch.sentences.lengths[row])
        assert batch.sentences.tokens[row, :length].tolist() == corpus.spell(text)
        assert batch.texts[row] == text
        assert not batch.labelled[row]
        assert int(batch.samples[row]) == 0
        assert not any(part[row].any() for part in (batch.waveform, batch.durations, batch.f0))


def test_the_recorded_sentences_are_what_they_were(module) -> None:
    before, now = all_of(module(None, pitch=True)), all_of(module(pitch=True))
    for id, (batch, row) in before.items():
        other, place = now[id]
        length, samples = int(batch.sentences.lengths[row]), int(batch.samples[row])
        assert torch.equal(batch.sentences.tokens[row, :length], other.sentences.tokens[place, :length])
        assert torch.equal(batch.waveform[row, :samples], other.waveform[place, :samples])
        assert torch.equal(batch.durations[row, :length], other.durations[place, :length])
        assert batch.texts[row] == other.texts[place]
        assert batch.speakers[row] == other.speakers[place]
    held = [set(every(loader)) for loader in (module().val_dataloader(), module().test_dataloader())]
    assert [len(split) for split in held] == [4, 4]
    assert not any(id in split for id in IDS for split in held)


def test_it_lasts_as_long_as_the_corpus_needs_for_its_tokens(module) -> None:
    corpus = module()
    recorded = [
        corpus.spell(batch.texts[row]) for id, (batch, row) in all_of(corpus).items() if id not in IDS
    ]
    seconds = corpus._train.seconds
    of_token = float(seconds[:12].sum()) / sum(map(len, recorded))
    for place, id in enumerate(IDS, start=12):
        batch, row = all_of(corpus)[id]
        length = int(batch.sentences.lengths[row])
        assert seconds[place] == pytest.approx(of_token * length, abs=1 / RATE)
    # Long ones are left out as recordings are.
    assert module(max_seconds=float(seconds[12:].max()) - 0.01).unrecorded_size == 3


def test_speakers_take_turns_or_one_says_all(module) -> None:
    corpus = module()
    there = all_of(corpus)
    speakers = [there[id][0].speakers[there[id][1]] for id in IDS]
    assert Counter(speakers) == dict.fromkeys(SPEAKERS, 2)
    for id in IDS:
        batch, row = there[id]
        assert corpus.speakers[batch.sentences.speakers[row]] == batch.speakers[row]
    there = all_of(module(text_speaker=84))
    assert {there[id][0].speakers[there[id][1]] for id in IDS} == {"84"}
    with pytest.raises(ValueError, match=r"corpus\.text_speaker=12: nobody is called so; there are 1034, 84"):
        module(text_speaker="12")


def test_only_those_who_have_a_teacher_draw_it(module) -> None:
    drawn = set(every(module().train_dataloader()))
    assert set(IDS) < drawn
    alone = module(unlabelled=False, batch_seconds=3.0).train_dataloader()
    assert not set(IDS) & set(every(alone))
    # Its baseline has as many steps.
    longer = module(batch_seconds=3.0).train_dataloader()
    assert len(alone) == len(longer) > len(module(None, batch_seconds=3.0).train_dataloader())
    assert len(module(limit=3).view_ids(Unit(0, 0, 99))) == 3 + 3


def test_without_durations_there_are_none_for_the_text(module) -> None:
    corpus = module(spelling="characters")
    assert all(batch.durations is None for batch in corpus.train_dataloader())
    assert set(IDS) < set(all_of(corpus))


def test_lines_that_the_tokens_cannot_say_are_counted_and_named(module, caplog, tmp_path) -> None:
    corpus = module("We saw 你.\nWe went home.\n!?\n")
    path = tmp_path / "sentences.txt"
    assert corpus.view_ids(Unit(0, 12, 99)) == ["text_000002"]
    reasons = {key: reason for key, reason in corpus.skipped.items() if "sentences" in key}
    assert set(reasons) == {f"{path}, line 1", f"{path}, line 3"}
    assert "'你'" in reasons[f"{path}, line 1"]
    assert "nothing to say" in reasons[f"{path}, line 3"]
    assert f"2 of 3 sentences of {path} are left out: line 1: " in caplog.text
    caplog.clear()
    module("We saw 你.\nWe went home.\n!?\n")
    assert "2 of 3 sentences" in caplog.text  # and again when it is opened


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"corpus\.text=.*sentences.txt has no sentence: write one a line"),
        (b" \n\n", "has no sentence"),
        (b"We saw \xff.\n", r"is not UTF-8 \(invalid start byte at byte 7\)"),
        ("你好\n".encode(), r"no line can be said; line 1: .*'你'"),
    ],
)
def test_a_text_that_says_nothing_is_an_error(module, root, tmp_path, content, said) -> None:
    path = tmp_path / "sentences.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        module(None, text=str(path), data=str(tmp_path))
    assert not list(tmp_path.rglob("text_*"))


def test_a_text_that_is_not_there_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"corpus\.text=.*none\.txt is not a file"):
        read_lines(tmp_path / "none.txt")


def test_a_line_separator_in_a_line_does_not_end_it(tmp_path) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("\ufeffOne\u2028line.\r\nAnother.".encode())
    assert [(line.number, line.text) for line in read_lines(path)] == [(1, "One\u2028line."), (2, "Another.")]


def test_labels_follow_from_the_text_and_from_who_says_it(module) -> None:
    facts = module().view_facts()
    assert facts["clips"] == 16
    assert facts == module(labelled_fraction=0.5).view_facts()
    digests = {
        module(*text, **others).view_facts()["corpus"]
        for text, others in (
            ((), {}),
            ((None,), {}),
            ((TEXT.replace("friend", "house"),), {}),
            ((), {"text_speaker": "84"}),
        )
    }
    assert len(digests) == 4


def test_a_worker_gets_no_arrays(module) -> None:
    dataset = module(pitch=True).train_dataloader().dataset
    packed = pickle.dumps(dataset)
    assert len(packed) < 10_000
    items = [(3, 0), (14, 0)]
    one, other = dataset.__getitems__(items), pickle.loads(packed).__getitems__(items)
    assert one.ids == other.ids
    assert one.texts == other.texts
    assert torch.equal(one.waveform, other.waveform)
    assert torch.equal(one.sentences.tokens, other.sentences.tokens)
    assert torch.equal(one.durations, other.durations)
