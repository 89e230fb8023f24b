"""Numbers of corpora that are known."""

import pytest

from kd_lightning.checks.finding import Level
from kd_lightning.checks.labels_seen import labels_seen, padding, transcripts
from kd_lightning.experiment.build import build_corpus, build_student


def says(findings):
    return [(finding.level, finding.what, finding.says) for finding in findings]


def test_labelled_clips_are_counted(config_of):
    first, words = labels_seen(build_corpus(config_of("baseline", "corpus.labelled_fraction=0.25")))
    # 96 clips of four voices and four words, a second each.
    assert first.says.startswith("24 of 96 cuts (25.0%), 0.0067 of 0.027 hours, 4 of 4 speakers")
    assert words.says == "6 clips of each of 4 classes"


def test_a_class_with_few_labels_is_said(config_of):
    *_, last = labels_seen(build_corpus(config_of("baseline", "corpus.labelled_fraction=0.1")))
    assert last.level is Level.WARNING
    assert "4 of 4 classes have fewer than 5 clips with labels" in last.says


def test_words_that_are_no_classes_are_one(config_of):
    words = ("corpus.words=[yes]", "corpus.unknown=true", "corpus.labelled_fraction=0.25")
    _, last = labels_seen(build_corpus(config_of("baseline", *words)))
    assert last.says == "6 clips of each of 2 classes"


def test_clips_have_no_padding(config_of):
    (said,) = padding(build_corpus(config_of("baseline")))
    assert said.says.startswith("none")


def test_padding_is_what_the_batches_have(config_of_sentences):
    datamodule = build_corpus(config_of_sentences("teacher", "corpus.augment=null"))
    (said,) = padding(datamodule)
    valid = padded = 0
    for batch in datamodule.train_dataloader():
        valid += int(batch.samples.sum())
        padded += batch.waveform.numel()
    assert float(said.says.partition("%")[0]) == pytest.approx(100 * (1 - valid / padded), abs=0.06)


@pytest.mark.parametrize(("subsampling", "level"), [(1, Level.OK), (40, Level.WARNING)])
def test_a_student_with_too_few_frames_cannot_learn_transcripts(config_of_sentences, subsampling, level):
    config = config_of_sentences("baseline")
    datamodule = build_corpus(config)
    student = build_student(config, datamodule)
    student.network.subsampling *= subsampling
    (said,) = transcripts(datamodule, student, learns_frames=True)
    assert said.level is level
    assert not says(transcripts(datamodule, student, learns_frames=False))
    assert ("CTC cannot learn them" in said.says) == (level is Level.WARNING)
