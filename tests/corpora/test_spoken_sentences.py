"""Sentences for acoustic networks: tokens, durations, hidden recordings, and which sentences are left out."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import resample_poly
from small_voice import PAUSE, RATE, SILENCE, SPEAKERS, texts, write_voice

from kd_lightning.corpora.recognition import LibriTTS
from kd_lightning.corpora.spelling import Spelling
from kd_lightning.corpora.spoken_batches import SpokenBatch
from kd_lightning.corpora.synthesis import SpokenSentences
from kd_lightning.frontend.phonemes import Phonemes
from kd_lightning.frontend.spoken_characters import spoken_form
from kd_lightning.labels.format import Unit

TRAIN = {"train": ["train-clean-100"]}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return write_voice(tmp_path_factory.mktemp("voice") / "LibriTTS")


@pytest.fixture(scope="module")
def module(root, tmp_path_factory):
    """A data module over the small voice, set up; what one prepares another one opens."""
    data = tmp_path_factory.mktemp("data")

    def make(**arguments) -> SpokenSentences:
        usual = {"root": str(root), "data": str(data), "sample_rate": RATE, "batch_seconds": 6.0}
        corpus = SpokenSentences(**usual | arguments)
        corpus.prepare_data()
        corpus.setup()
        return corpus

    return make


def every(loader) -> dict[str, tuple[SpokenBatch, int]]:
    """The batch and the row of each sentence."""
    return {id: (batch, row) for batch in loader for row, id in enumerate(batch.ids)}


def copied(root: Path, folder: Path) -> tuple[Path, list[Path]]:
    """A corpus of its own, and its training recordings."""
    written = write_voice(folder / "LibriTTS")
    return written, sorted((written / "train-clean-100").rglob("*.wav"))


def test_every_sentence_is_there_once_and_spelt(module) -> None:
    corpus = module()
    there = every(corpus.train_dataloader())
    assert len(there) == corpus.train_size == corpus.labelled_size == 12
    for batch, row in there.values():
        tokens, length = batch.sentences.tokens[row], int(batch.sentences.lengths[row])
        assert tokens[:length].tolist() == corpus.spell(batch.texts[row])
        assert (tokens[length:] == 0).all()
        assert batch.speakers[row] == corpus.speakers[batch.sentences.speakers[row]]
    assert sorted(batch.texts[row] for batch, row in there.values()) == sorted(texts(12))
    assert corpus.speakers == sorted(SPEAKERS)
    assert corpus.classes[0] == "<blank>"
    assert len(every(corpus.val_dataloader())) == len(every(corpus.test_dataloader())) == 4


def test_tokens_last_as_long_as_their_phones(module) -> None:
    corpus = module()
    for batch, row in every(corpus.train_dataloader()).values():
        length = int(batch.sentences.lengths[row])
        seconds = batch.durations[row]
        pieces = [corpus.classes[token] for token in batch.sentences.tokens[row, :length]]
        expected = [{"_": SILENCE, ",": PAUSE}.get(piece, 0.0625) for piece in pieces]
        # Nobody pauses at the mark that ends a sentence: the silence is the boundary's.
        expected[-2] = 0.0 if pieces[-2] in ".!?" else expected[-2]
        np.testing.assert_allclose(seconds[:length], expected, atol=1e-5)
        assert float(seconds.sum()) == pytest.approx(int(batch.samples[row]) / RATE, abs=1e-4)
        assert (seconds[length:] == 0).all()


@pytest.mark.parametrize("rate", [RATE, 16000, 22050])
def test_audio_is_that_of_the_file_at_any_rate(module, root, rate) -> None:
    for id, (batch, row) in every(module(sample_rate=rate).test_dataloader()).items():
        (path,) = root.rglob(f"{id}.wav")
        read, _ = soundfile.read(path)
        expected = read if rate == RATE else resample_poly(read, rate // 50, RATE // 50)
        waveform = batch.waveform[row]
        samples = int(batch.samples[row])
        np.testing.assert_allclose(waveform[:samples], expected.clip(-1, 1), atol=1 / 32768)
        assert (waveform[samples:] == 0).all()


def test_characters_keep_marks_and_have_no_durations(module) -> None:
    corpus = module(spelling="characters")
    for batch, row in every(corpus.train_dataloader()).values():
        assert batch.durations is None
        spelt = batch.sentences.tokens[row, : batch.sentences.lengths[row]].tolist()
        assert corpus.tokens.decode(spelt) == spoken_form(batch.texts[row], "en")
    assert {",", ".", "!", "?"} < set(corpus.classes)


def test_a_corpus_without_phones_has_no_durations(tmp_path) -> None:
    written = write_voice(tmp_path / "LibriTTS", phones=False)
    corpus = SpokenSentences(root=str(written), data=str(tmp_path), batch_seconds=6.0)
    corpus.prepare_data()
    corpus.setup()
    assert corpus.skipped == {}
    assert all(batch.durations is None for batch in corpus.train_dataloader())


def test_hidden_recordings_leave_their_text(module) -> None:
    whole = every(module().train_dataloader())
    corpus = module(labelled_fraction=0.25, unlabelled=True)
    there = every(corpus.train_dataloader())
    assert there.keys() == whole.keys()
    seen = {id for id, (batch, row) in there.items() if batch.labelled[row]}
    assert len(seen) == corpus.labelled_size == 3
    for id, (batch, row) in there.items():
        other, place = whole[id]
        length = int(batch.sentences.lengths[row])
        assert torch.equal(batch.sentences.tokens[row, :length], other.sentences.tokens[place, :length])
        assert int(batch.samples[row]) == (int(other.samples[place]) if id in seen else 0)
        assert bool(batch.waveform[row].any()) == bool(batch.durations[row].any()) == (id in seen)


def test_a_smaller_fraction_is_part_of_a_larger_one(module) -> None:
    few, more = (every(module(labelled_fraction=part).train_dataloader()) for part in (0.25, 0.5))
    assert len(few) == 3
    assert few.keys() < more.keys()


def test_where_all_is_hidden_there_is_a_sample(module) -> None:
    batch = next(iter(module(labelled_fraction=0.0, unlabelled=True).train_dataloader()))
    assert batch.waveform.shape == (len(batch.ids), 1)
    assert not batch.samples.any()
    with pytest.raises(ValueError, match="leaves no recording to learn from"):
        module(labelled_fraction=0.0)


def test_an_epoch_has_as_many_batches_with_few_recordings_as_with_all(module) -> None:
    few, every_one = module(labelled_fraction=0.25), module()
    assert len(few.train_dataloader()) == len(every_one.train_dataloader()) > 2


def test_an_epoch_that_was_cut_off_goes_on_where_it_was(module) -> None:
    corpus = module()
    epochs = []
    for position in (0, 2):
        corpus._position = lambda position=position: position  # of the trainer that there is not
        epochs.append([batch.ids for batch in corpus.train_dataloader()])
    assert epochs[1] == epochs[0][2:] != []


def test_some_speakers_alone(module) -> None:
    corpus = module(speakers=[84])  # as a config writes it
    assert corpus.speakers == ["84"]
    assert corpus.train_size == 6
    for loader in (corpus.train_dataloader(), corpus.test_dataloader()):
        for batch in loader:
            assert set(batch.speakers) == {"84"}
            assert not batch.sentences.speakers.any()
    with pytest.raises(ValueError, match=r"corpus\.speakers names 12, who are not in train-clean-100"):
        module(speakers=["84", "12"])


def test_a_network_brings_its_numbers_and_its_tokens(module, root, tmp_path) -> None:
    own = module()
    corpus = SpokenSentences(root=str(root), data=str(tmp_path), batch_seconds=6.0)
    turned = Phonemes("en-us", [*own.classes[:2], *reversed(own.classes[2:])])
    corpus.spell_with(Spelling(turned))
    corpus.number_speakers(["84", "7", "1034"])
    corpus.prepare_data()
    corpus.setup()
    assert corpus.classes == turned.pieces
    assert corpus.speakers == ["84", "7", "1034"]
    theirs = every(own.train_dataloader())
    for id, (batch, row) in every(corpus.train_dataloader()).items():
        assert batch.speakers[row] == corpus.speakers[batch.sentences.speakers[row]]
        other, place = theirs[id]
        assert [turned.pieces[n] for n in batch.sentences.tokens[row] if n] == [
            own.classes[n] for n in other.sentences.tokens[place] if n
        ]


def test_nobody_is_tested_whom_nobody_heard(module, root, tmp_path) -> None:
    corpus = SpokenSentences(root=str(root), data=str(tmp_path))
    corpus.number_speakers(["84"])
    with pytest.raises(
        ValueError, match="the test split has speakers that no network can have learnt: 1034;"
    ):
        corpus.setup()


def test_sentences_of_the_training_parts_are_held_out(module) -> None:
    def ids(**held_out: int) -> list[set[str]]:
        corpus = module(parts=TRAIN, held_out=held_out)
        loaders = corpus.train_dataloader(), corpus.val_dataloader(), corpus.test_dataloader()
        return [set(every(loader)) for loader in loaders]

    few, more = ids(validation=2, test=3), ids(validation=4, test=3)
    assert [len(split) for split in few] == [7, 2, 3]
    assert len(set.union(*few)) == 12
    assert few[1] < more[1]
    assert few[2] == more[2]
    with pytest.raises(ValueError, match=r"corpus\.held_out leaves none of 12 sentences"):
        ids(validation=6, test=6)
    with pytest.raises(ValueError, match=r"corpus\.parts\.test is empty.* set corpus\.held_out\.test"):
        ids(validation=6)


def test_what_cannot_be_learnt_from_is_counted_and_named(root, tmp_path) -> None:
    written, wavs = copied(root, tmp_path)
    clipped, silent, unspelt, unsayable, other, untimed, *_, last = wavs
    soundfile.write(clipped, np.sign(np.sin(np.arange(30000) / 50)), RATE)
    soundfile.write(silent, np.zeros(30000), RATE)
    unspelt.with_suffix(".normalized.txt").unlink()
    unsayable.with_suffix(".normalized.txt").write_text("We saw 你 and left.", encoding="utf-8")
    other.with_suffix(".normalized.txt").write_text("Another sentence.")
    untimed.with_suffix(".phones.tsv").unlink()
    last.with_suffix(".phones.tsv").write_text("0\t1\n")
    corpus = SpokenSentences(root=str(written), data=str(tmp_path / "data"), batch_seconds=6.0)
    corpus.prepare_data()
    corpus.setup()
    reasons = {Path(id).stem: reason for id, reason in corpus.skipped.items()}
    expected = {
        clipped: "clipped: 100.0 %",
        silent: "silent",
        unspelt: "there is no .normalized.txt beside it",
        unsayable: "'你'",
        other: "has other phones than are written",
        untimed: "there is no .phones.tsv beside it",
        last: "line 1: start, end and phone were expected",
    }
    assert reasons.keys() == {path.stem for path in expected}
    for path, reason in expected.items():
        assert reason in reasons[path.stem]
    there = every(corpus.train_dataloader())
    assert there.keys() == {path.stem for path in wavs} - reasons.keys()
    # Others stay in their places.
    for batch, row in there.values():
        assert batch.sentences.tokens[row, : batch.sentences.lengths[row]].tolist() == corpus.spell(
            batch.texts[row]
        )
    heard = LibriTTS(root=str(written), data=str(tmp_path / "data"))
    heard.prepare_data()
    heard.setup()
    assert list(heard.skipped) == [unspelt.relative_to(written).as_posix()]


def test_a_corpus_that_cannot_be_said_at_all_says_why(root, tmp_path) -> None:
    written, _ = copied(root, tmp_path)
    for path in written.rglob("*.phones.tsv"):
        path.write_text("0\t1\tz\n")
    corpus = SpokenSentences(root=str(written), data=str(tmp_path))
    with pytest.raises(ValueError, match=r"no sentence of the corpus can be used: .* has other phones"):
        corpus.prepare_data()
    assert not list((tmp_path / "prepared").rglob("*.partial"))
    with pytest.raises(ValueError, match=r"corpus\.spelling=runes: there are phonemes, characters"):
        SpokenSentences(root=str(written), data=str(tmp_path), spelling="runes").prepare_data()


def test_a_teacher_is_asked_for_every_sentence_and_its_words_come_with_the_batch(module) -> None:
    corpus = module(views=2)
    units = [Unit(0, 0, 5), Unit(1, 5, 12)]

    class Labels:
        def read(self, positions: list[int], views: list[int]) -> torch.Tensor:
            return torch.tensor([positions, views])

    corpus.use_labels(Labels())
    for unit in units:
        ids = corpus.view_ids(unit)
        told = []
        for batch in corpus.views_dataloader([unit], 6.0):
            positions, views = batch.stored
            assert (views == unit.view).all()
            assert batch.ids == [ids[place - unit.begin] for place in positions.tolist()]
            told += batch.ids
        assert sorted(told) == sorted(ids)
    assert batch.to(torch.device("meta")).stored.is_meta


def test_what_labels_follow_from(module) -> None:
    facts = module().view_facts()
    assert facts["clips"] == 12
    assert facts == module(labelled_fraction=0.5, seed=3, batch_seconds=9.0).view_facts()
    digests = {
        module(**other).view_facts()["corpus"]
        for other in ({}, {"spelling": "characters"}, {"sample_rate": 16000}, {"speakers": ["84"]})
    }
    assert len(digests) == 4


def test_a_worker_gets_no_arrays(module) -> None:
    dataset = module().train_dataloader().dataset
    packed = pickle.dumps(dataset)
    one, other = dataset[3, 0], pickle.loads(packed)[3, 0]
    assert len(packed) < 10_000
    assert one.ids == other.ids
    assert torch.equal(one.waveform, other.waveform)
    assert torch.equal(one.sentences.tokens, other.sentences.tokens)
    assert torch.equal(one.durations, other.durations)
