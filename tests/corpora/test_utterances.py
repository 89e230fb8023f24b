"""Common Voice and LibriTTS as data modules: what is in a batch, what is hidden, what is left out."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import no_file_beyond
from torch import Tensor

from kd_lightning.corpora.augment import Augment
from kd_lightning.corpora.recognition import CommonVoice, LibriTTS
from kd_lightning.corpora.spelling import Spelling
from kd_lightning.corpora.utterance_batches import UtteranceBatch
from kd_lightning.corpora.utterance_files import Split
from kd_lightning.frontend.alphabet import Alphabet
from kd_lightning.frontend.text import normalise
from kd_lightning.frontend.tokens import decoder_of


@pytest.fixture
def module(common_voice_root, tmp_path_factory):
    """A data module over the small corpus, set up."""
    data = tmp_path_factory.getbasetemp() / "utterances"

    def make(**arguments) -> CommonVoice:
        corpus = CommonVoice(
            **{"root": str(common_voice_root), "data": str(data), "batch_seconds": 12.0} | arguments
        )
        corpus.prepare_data()
        corpus.setup()
        return corpus

    return make


def passes(corpus: CommonVoice, count: int = 1) -> list[UtteranceBatch]:
    """The first batches of training."""
    return [batch for _ in range(count) for batch in corpus.train_dataloader()]


def augment() -> Augment:
    return Augment(speed=(0.8, 1.25), shift=0.0, keep_length=False, clean=0.0)


def valid(waveform: Tensor, samples: Tensor) -> list[Tensor]:
    return [one[:length] for one, length in zip(waveform, samples, strict=True)]


def test_the_tokens_of_a_visible_transcript_spell_it(module) -> None:
    corpus = module()
    read = decoder_of(corpus.classes)
    seen = 0
    for batch in passes(corpus):
        assert batch.labelled.all()
        for text, tokens, length in zip(batch.texts, batch.tokens, batch.token_lengths, strict=True):
            assert read(tokens[:length].tolist()) == normalise(text, "en")
            assert (tokens[length:] == 0).all()
            seen += 1
    assert seen == corpus.train_size == 24


def test_hidden_transcripts_leave_their_audio(module) -> None:
    corpus = module(labelled_fraction=0.25, unlabelled=True)
    batches = passes(corpus)
    assert sum(int(batch.labelled.sum()) for batch in batches) == corpus.labelled_size == 6
    assert sum(len(batch.ids) for batch in batches) == 24
    for batch in batches:
        assert (batch.token_lengths[~batch.labelled] == 0).all()
        assert (batch.tokens[~batch.labelled] == 0).all()


def test_a_smaller_fraction_is_part_of_a_larger_one(module) -> None:
    def seen(fraction: float) -> set[str]:
        return {id for batch in passes(module(labelled_fraction=fraction)) for id in batch.ids}

    assert seen(0.25) < seen(0.5) < seen(1.0)


def test_an_epoch_has_as_many_batches_with_few_transcripts_as_with_all(module) -> None:
    few, all_of_them = module(labelled_fraction=0.25), module()
    assert len(few.train_dataloader()) == len(all_of_them.train_dataloader()) == len(passes(few))


def test_audio_is_that_of_the_file_at_16_kilohertz(module, common_voice_root) -> None:
    import soundfile
    from scipy.signal import resample_poly

    for batch in module().test_dataloader():
        for id, waveform in zip(batch.ids, valid(batch.waveform, batch.samples), strict=True):
            read, rate = soundfile.read(common_voice_root / "clips" / f"{id}.mp3", dtype="float32")
            expected = resample_poly(read, 16000, rate)
            assert rate == 32000
            np.testing.assert_allclose(waveform, expected.clip(-1, 1), atol=1 / 32768)


def test_a_view_does_not_depend_on_the_batch_that_it_is_in(module) -> None:
    views = {}
    for seconds in (12.0, 30.0):
        for batch in passes(module(augment=augment(), views=2, batch_seconds=seconds)):
            for id, waveform in zip(batch.ids, valid(batch.waveform, batch.samples), strict=True):
                assert torch.equal(waveform, views.setdefault(id, waveform))
    assert len(views) == 24


def test_views_are_as_long_as_their_speed_makes_them(module) -> None:
    plain = {id: int(n) for batch in passes(module()) for id, n in zip(batch.ids, batch.samples, strict=True)}
    played = {
        id: int(n)
        for batch in passes(module(augment=augment()))
        for id, n in zip(batch.ids, batch.samples, strict=True)
    }
    ratios = [played[id] / plain[id] for id in played]
    assert min(ratios) > 0.79
    assert max(ratios) < 1.26
    assert np.std(ratios) > 0.05


def test_the_second_view_has_the_same_waveform_under_other_masks(module) -> None:
    batch = passes(module(augment=augment()))[0]
    assert batch.masks.time.shape == batch.other_masks.time.shape
    assert not torch.equal(batch.masks.time, batch.other_masks.time)


def test_pieces_of_words_are_learnt_once_and_the_same_for_every_fraction(module) -> None:
    few, more = (
        module(spelling="unigram", pieces=40, labelled_fraction=0.25),
        module(spelling="unigram", pieces=40),
    )
    assert few.classes == more.classes
    assert len(few.classes) == 40


def test_a_network_that_has_tokens_brings_them(common_voice_root, module, tmp_path, caplog) -> None:
    own = module()
    vowels = Alphabet(["<blank>", "e", " ", *"aoub"])
    corpus = CommonVoice(
        root=str(common_voice_root), data=str(tmp_path), spelling="teacher", batch_seconds=12.0
    )
    corpus.spell_with(Spelling(vowels))
    with caplog.at_level(logging.WARNING):
        corpus.prepare_data()
        corpus.setup()
    assert corpus.classes == vowels.pieces
    lost = sum(
        len(vowels.unspellable(normalise(text, "en"))) for batch in passes(own) for text in batch.texts
    )
    assert f"{lost} words of the transcripts cannot be spelt" in caplog.text
    assert corpus.spell("A bee, a boat, a tree") == vowels.encode("a bee a a")
    with pytest.raises(
        ValueError, match=r"corpus\.spelling=teacher: there are characters, unigram, bpe, teacher"
    ):
        module(spelling="teacher")


def test_what_cannot_be_trained_on_is_counted_and_named(common_voice_root, tmp_path, caplog) -> None:
    root = tmp_path / "en"
    shutil.copytree(common_voice_root, root)
    lines = (root / "train.tsv").read_text().splitlines()
    clips = [line.split("\t")[1] for line in lines[1:]]
    (root / "clips" / clips[0]).write_bytes(b"not an mp3")
    (root / "clips" / clips[1]).unlink()
    lines[3] = lines[3].replace(lines[3].split("\t")[3], "we meet at 10")
    (root / "train.tsv").write_text("\n".join(lines) + "\n")
    corpus = CommonVoice(root=str(root), data=str(tmp_path / "data"), min_seconds=1.0, max_seconds=100.0)
    corpus.prepare_data()
    with caplog.at_level(logging.WARNING):
        corpus.setup()
    assert corpus.train_size == 22
    assert "not readable as audio" in corpus.skipped[Path(clips[0]).stem]
    assert "missing" in corpus.skipped[clips[1]]
    assert "1 words of the transcripts cannot be spelt and are left out, such as 10" in caplog.text
    assert "2 utterances are left out" in caplog.text


def test_a_clip_that_lacks_some_of_its_published_length_is_truncated(common_voice_root, tmp_path) -> None:
    root = tmp_path / "en"
    shutil.copytree(common_voice_root, root)

    def skipped() -> dict[str, str]:
        corpus = CommonVoice(root=str(root), data=str(tmp_path / "data"))
        corpus.prepare_data()
        corpus.setup()
        return corpus.skipped

    assert skipped() == {}
    durations = root / "clip_durations.tsv"
    first, second, *others = durations.read_text().splitlines()[1:]
    rows = [f"{row.split()[0]}\t{int(row.split()[1]) + more}" for row, more in ((first, 200), (second, 1000))]
    durations.write_text("\n".join(["clip\tduration[ms]", *rows, *others]) + "\n")
    ((clip, reason),) = skipped().items()
    assert clip == Path(second.split()[0]).stem
    whole = int(second.split()[1]) / 1000
    assert reason == f"truncated: {whole:.2f} of {whole + 1:.2f} seconds"
    durations.unlink()
    assert skipped() == {}


def test_too_short_and_too_long_utterances_are_not_trained_on(module, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        corpus = module(min_seconds=2.0, max_seconds=2.5)
    assert 0 < corpus.train_size < 24
    assert f"{24 - corpus.train_size} training utterances are left out" in caplog.text
    for batch in passes(corpus):
        assert batch.samples.min() >= 2 * 16000
        assert batch.samples.max() <= 2.5 * 16000
    with pytest.raises(ValueError, match="no utterance between"):
        module(min_seconds=50.0, max_seconds=60.0)


def test_libritts_is_read_from_its_parts(libritts_root, tmp_path) -> None:
    corpus = LibriTTS(root=str(libritts_root.parent), data=str(tmp_path), language="en")
    corpus.prepare_data()
    corpus.setup()
    assert corpus.train_size == 24
    assert [len(list(corpus.cuts(split))) for split in Split] == [24, 8, 8]
    batch = next(iter(corpus.test_dataloader()))
    assert batch.texts[0].strip()


def test_a_changed_corpus_is_prepared_again(common_voice_root, tmp_path) -> None:
    root = tmp_path / "en"
    shutil.copytree(common_voice_root, root)

    def size() -> int:
        corpus = CommonVoice(root=str(root), data=str(tmp_path / "data"))
        corpus.prepare_data()
        corpus.setup()
        return corpus.train_size

    assert size() == 24
    lines = (root / "train.tsv").read_text().splitlines()
    (root / "train.tsv").write_text("\n".join(lines[:-4]) + "\n")
    assert size() == 20


def test_a_locale_of_another_language_is_said(common_voice_root, tmp_path, caplog) -> None:
    def warned(folder: str, language: str) -> bool:
        caplog.clear()
        root = tmp_path / folder
        if not root.is_dir():
            shutil.copytree(common_voice_root, root)
        CommonVoice(root=str(root), data=str(tmp_path / "data"), language=language).find()
        return f"corpus.language={language}: set corpus.language={folder}" in caplog.text

    assert warned("tr", "en")
    assert warned("ga-IE", "en")
    assert not warned("ga-IE", "ga")
    assert not warned("tr", "tr")
    assert not warned("my_recordings", "tr")


def test_a_full_disk_leaves_nothing_prepared(common_voice_root, tmp_path) -> None:
    corpus = CommonVoice(root=str(common_voice_root), data=str(tmp_path))
    with no_file_beyond(100_000), pytest.raises(OSError, match="cannot prepare the corpus"):
        corpus.prepare_data()
    assert list((tmp_path / "prepared").iterdir()) == []


def test_no_transcripts_at_all_are_refused_where_nobody_else_teaches(module) -> None:
    with pytest.raises(ValueError, match="leaves no transcript to learn from"):
        module(labelled_fraction=0.0)
    assert module(labelled_fraction=0.0, unlabelled=True).labelled_size == 0
