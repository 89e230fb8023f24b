"""What a teacher says of sentences, stored: the same lesson as from the live teacher, of recorded text and other."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from hydra import compose, initialize_config_dir
from kills import Killed, Points
from safetensors.torch import load_file, save_file
from speakers import FEED_FORWARD, TACOTRON_STUDENT, TACOTRON_TEACHER, talkative_run

from kd_lightning.corpora.buckets import Item
from kd_lightning.experiment.build import build_corpus, build_experiment
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.experiment.labelling import build_labelling
from kd_lightning.experiment.stored_labels import open_stored
from kd_lightning.labelling import run_label
from kd_lightning.labels.format import INDEX
from kd_lightning.stages import run_stage

SHARD = "view_000/block_0000.safetensors"
TEXT = "They said no.\nOpen the red window.\nYes, it was not on the radio.\n"
TOLD = ["text_000001", "text_000002", "text_000003"]
STORED = ("teacher.stored=true", "distiller.min_focus=0", "corpus.batch_seconds=8")


def content(folder: Path) -> dict[str, bytes]:
    """The store's own files."""
    files = [folder / INDEX, *folder.glob("view_*/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


def label_folder(config: dict[str, Any]) -> Path:
    return Path(config["folder"]).parent / "label"


def composed(words: list[str], folder: Path, stage: str = "distill") -> dict[str, Any]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return stage_config(Request(compose("config", overrides=[*words, f"paths.runs={folder}"])), stage)


@pytest.fixture(scope="module")
def words(voice_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A teacher with a decoder that teaches from recordings and from text."""
    path = tmp_path_factory.mktemp("text") / "sentences.txt"
    path.write_text(TEXT)
    choice = ("experiment=libritts_tts", *voice_words, *TACOTRON_TEACHER)
    return [*choice, f"corpus.text={path}"]


@pytest.fixture(scope="module")
def teacher(voice_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    choice = ("experiment=libritts_tts", *voice_words, *TACOTRON_STUDENT)
    return talkative_run(tmp_path_factory.mktemp("teacher"), *choice)


@pytest.fixture
def config_of(words: list[str], teacher: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The config of a distill stage that learns from stored labels, if need be with another student."""

    def make(*more: str, student: tuple[str, ...] = FEED_FORWARD) -> dict[str, Any]:
        every = [*words, *student, *STORED, f"teacher.run={teacher}", *more]
        return composed(every, tmp_path / "runs")

    return make


@pytest.fixture(scope="module")
def store(words: list[str], teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the teacher says, made in one go."""
    choice = [*words, *FEED_FORWARD, *STORED, f"teacher.run={teacher}"]
    config = composed(choice, tmp_path_factory.mktemp("runs"))
    run_label(config, label_folder(config))
    return label_folder(config)


def every(datamodule: Any) -> Any:
    """All training sentences, recorded and told, as one batch."""
    dataset = datamodule.train_dataloader().dataset
    return dataset.__getitems__([Item(position, 0) for position in range(len(dataset))])


# What is stored


def test_the_teacher_talks(store):
    """Or the tests below would compare nothing: some sentences end, others are cut, and they differ in length."""
    shard = load_file(store / SHARD)
    assert 0 < int(shard["ended"].sum()) < len(shard["ended"]) == 27
    assert len(shard["offsets/mel"].diff().unique()) > 3
    assert torch.equal(shard["durations"].sum(), shard["offsets/mel"][-1])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("float16", 2e-3)])
def test_stored_and_live_teacher_give_the_same_loss(config_of, dtype, tolerance):
    config = config_of(f"labels.dtype={dtype}")
    run_label(config, label_folder(config))
    live = build_experiment(config_of("teacher.stored=false"), Path(config["folder"]))
    distiller, datamodule = live.distiller.eval(), live.datamodule
    datamodule.use_labels(open_stored(config, datamodule))
    losses = []
    for batch in datamodule.train_dataloader():
        steps = []
        for stored in (batch.stored, None):
            torch.manual_seed(0)  # of the draw whom to follow
            with torch.no_grad():
                steps.append(distiller.run_networks(batch._replace(stored=stored)))
        assert torch.equal(steps[0].taught, steps[1].taught)
        for key, term in distiller.terms.items():
            ours, theirs = (float(term(step).sum) for step in steps)
            assert ours == pytest.approx(theirs, rel=tolerance, abs=1e-4), key
            losses.append((key, theirs))
    assert all(any(loss > 0 for key, loss in losses if key == term) for term in distiller.terms)


def test_the_batches_of_the_run_change_no_byte(store, config_of):
    config = config_of("corpus.batch_seconds=3", "corpus.labelled_fraction=0.25")
    run_label(config, label_folder(config))
    assert content(label_folder(config)) == content(store)


def test_sentences_beside_others_are_read_as_alone(store, config_of):
    config = config_of(f"teacher.stored={store}")
    datamodule = build_corpus(config)
    datamodule.use_labels(open_stored(config, datamodule))
    together = every(datamodule)
    assert together.ids[-3:] == TOLD
    dataset = datamodule.train_dataloader().dataset
    for position in range(len(dataset)):
        alone = dataset[Item(position, 0)]
        mel, frames, durations = alone.stored.recorded[:3]
        assert int(frames) == mel.shape[2] == int(durations.sum())
        assert int(frames) == int(together.stored.recorded.frames[position])
        assert torch.equal(mel[0], together.stored.recorded.mel[position, :, : int(frames)])
        assert torch.equal(durations[0], together.stored.recorded.durations[position, : durations.shape[1]])
        assert torch.equal(alone.stored.focus[0], together.stored.focus[position])


# Text that nobody recorded


def test_text_is_learnt_from_the_teacher_alone(config_of, words):
    config = config_of("teacher.stored=false", "corpus.batch_seconds=100")
    built = build_experiment(config, Path(config["folder"]))
    batch = every(built.datamodule)
    assert batch.ids[-3:] == TOLD
    ended = built.distiller.teacher(batch.sentences).ended
    step = built.distiller.run_networks(batch)
    assert len(step.taught) == int((ended | batch.labelled).sum())
    assert int(step.taught.sum()) >= int((ended & ~batch.labelled).sum()) > 0
    # Without a teacher it is not there, but an epoch is as long.
    baseline = composed([*words, *FEED_FORWARD, "corpus.batch_seconds=4"], Path(config["folder"]), "baseline")
    distill = config_of("corpus.batch_seconds=4")
    alone, taught = (build_corpus(each).train_dataloader() for each in (baseline, distill))
    assert not [id for batch in alone for id in batch.ids if id in TOLD]
    assert len(alone) == len(taught) >= 3


def test_a_student_of_stored_speech_learns_what_it_would_have_learnt_live(config_of):
    words = ("labels.dtype=float32", "stages.distill.trainer.max_epochs=2")
    stored = config_of(*words)
    run_label(stored, label_folder(stored))
    curves = []
    for number, config in enumerate((stored, config_of(*words, "teacher.stored=false"))):
        config = config | {"folder": str(Path(config["folder"]).with_name(f"distill_{number}"))}
        run_stage(config)
        rows = [line.split(",") for line in Path(config["folder"], "curves.csv").read_text().splitlines()]
        curves.append([float(value) for _, key, value in rows if key == "train/loss"])
    assert len(curves[0]) >= 4
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)


def test_some_of_what_was_said_can_be_heard(config_of, tmp_path):
    config = config_of("labels.audio=2")
    folder = label_folder(config)
    run_label(config, folder)
    frames = load_file(folder / SHARD)["offsets/mel"].diff()[-3:]
    heard = {path.stem: soundfile.read(path) for path in (folder / "audio").glob("*.flac")}
    assert sorted(heard) == TOLD[:2]
    for id, (waveform, rate) in heard.items():
        count = int(frames[TOLD.index(id)])
        assert rate == 16000
        assert len(waveform) == 200 * count
        assert abs(waveform).max() > 0
    # More of them later, without asking the teacher again.
    before = content(folder)
    run_label(config_of("labels.audio=9", "corpus.text=null"), folder.with_name("recorded"))
    run_label(config_of("labels.audio=3"), folder)
    assert content(folder) == before
    assert sorted(path.stem for path in (folder / "audio").iterdir()) == TOLD
    assert len(list((folder.with_name("recorded") / "audio").iterdir())) == 9


# What is refused


def test_labels_of_other_text_or_of_another_teacher_are_refused(store, config_of, teacher, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(TEXT.replace("no.", "so."))
    loud = tmp_path / "loud"
    loud.mkdir()
    (loud / "config.json").write_text((teacher / "config.json").read_text())
    state = load_file(teacher / "network.safetensors")
    save_file({name: 0.9 * tensor for name, tensor in state.items()}, loud / "network.safetensors")
    for word, said in (
        (f"corpus.text={other}", r"another corpus \(corpus: "),
        ("corpus.text=null", r"another corpus \(corpus: .*clips: 27 stored, 24 in this run"),
        (f"teacher.run={loud}", r'another teacher \(teacher: "\w+" stored, "\w+" in this run\)'),
        ("labels.dtype=float32", r'another precision \(dtype: "float16" stored, "float32" in this run\)'),
        ("corpus.views=2", None),  # a text has no views: labels.views says how many are read
        ("labels.views=2", r"another number of views \(views: 1 stored, 2 in this run\)"),
    ):
        config = config_of(f"teacher.stored={store}", word)
        if said is None:
            assert open_stored(config, build_corpus(config)).read([0], [0]).recorded.mel.isfinite().all()
            continue
        with pytest.raises(ValueError, match=f"holds labels of {said}"):
            open_stored(config, build_corpus(config))


@pytest.mark.parametrize(
    ("transfer", "terms"),
    [("taught_mels_alignment", r"\['alignment'\]"), ("free_states", r"\['alignment', 'free_states'\]")],
)
def test_terms_that_ask_the_teacher_after_the_students_target_need_a_live_one(config_of, transfer, terms):
    config = config_of(f"transfer={transfer}", student=TACOTRON_STUDENT)
    said = (
        rf"the terms {terms} read what the teacher says after the student's target, .*teacher\.stored=false"
    )
    with pytest.raises(ValueError, match=said):
        build_labelling(config, label_folder(config))
    with pytest.raises(ValueError, match=said):
        build_experiment(config, Path(config["folder"]))


def test_a_stored_teacher_that_does_not_attend_is_refused(store, config_of):
    config = config_of(f"teacher.stored={store}", "distiller.min_focus=0.8")
    config["trainer"]["max_epochs"] = math.ceil(64 / 27) + 1
    with pytest.raises(
        ValueError, match=r"the teacher's focus rate is 0\.\d+, below distiller\.min_focus=0\.8"
    ):
        run_stage(config)


def test_less_than_no_audio_is_refused(config_of):
    config = config_of("labels.audio=-1")
    with pytest.raises(ValueError, match=r"labels\.audio=-1: .* teacher of task=synthesis; set it to 0"):
        build_labelling(config, label_folder(config))


# Resuming, the command, ranks


@pytest.mark.parametrize("point", [(f"before {Path(SHARD).name}", 1), (f"before {INDEX}", 1)])
def test_a_killed_labelling_goes_on_and_leaves_the_same_bytes(store, config_of, monkeypatch, point):
    config = config_of()
    folder = label_folder(config)
    with monkeypatch.context() as patch:
        Points(patch, folder, point)
        with pytest.raises(Killed):
            run_label(config, folder)
    run_label(config, folder)
    assert content(folder) == content(store)


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kd_lightning.label", *words],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=280,
        check=False,
    )


def test_the_command_labels_text(words, teacher, store, tmp_path):
    text = next(word.partition("=")[2] for word in words if word.startswith("corpus.text="))
    others = [word for word in words if not word.startswith("corpus.text=")]
    choice = [*others, *FEED_FORWARD, *STORED, f"teacher.run={teacher}"]
    done = command(*choice, f"text={text}", "labels.audio=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "quick" / "label"
    assert content(folder) == content(store)
    assert [path.name for path in (folder / "audio").iterdir()] == ["text_000001.flac"]


@pytest.mark.ddp
def test_two_ranks_write_what_one_writes(store, words, teacher, tmp_path):
    ranks = ("trainer=ddp", "trainer.devices=2", "trainer.enable_progress_bar=false")
    choice = [*words, *FEED_FORWARD, *STORED, f"teacher.run={teacher}"]
    done = command(*choice, *ranks, "labels.audio=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "quick" / "label"
    assert content(folder) == content(store)
    assert len(list((folder / "audio").iterdir())) == 1
    assert json.loads((folder / INDEX).read_text())["fingerprint"]["clips"] == 27
