"""Labels of a trained teacher on the small corpus: what they are worth to a run, and when they are refused."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from kills import Killed, Points
from safetensors.torch import load_file, save_file

from kd_lightning.experiment.build import build_corpus, build_experiment
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.experiment.finished import finished_model
from kd_lightning.experiment.labelling import build_labelling
from kd_lightning.experiment.stored_labels import fingerprint_of, open_stored
from kd_lightning.labelling import run_label
from kd_lightning.labels.format import INDEX
from kd_lightning.models.waveform_model import KeywordOutput
from kd_lightning.pipeline import pipeline, stage_configs
from kd_lightning.stages import run_stage

VIEWS = 3
WORDS = (f"labels.views={VIEWS}", "teacher.stored=true")
SHARD = "block_0000.safetensors"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def content(folder: Path) -> dict[str, bytes]:
    """The store's own files."""
    files = [folder / INDEX, *folder.glob("view_*/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


def label_folder(config: dict[str, Any]) -> Path:
    return Path(config["folder"]).parent / "label"


@pytest.fixture
def label_config(config_of, teacher_run) -> Callable[..., dict[str, Any]]:
    """The config of a distill stage that learns from stored labels."""

    def make(*words: str) -> dict[str, Any]:
        return config_of("distill", f"teacher.run={teacher_run}", *WORDS, *words)

    return make


@pytest.fixture(scope="module")
def store(quick_words, teacher_run, tmp_path_factory) -> Path:
    """A finished store, made in one go."""
    words = [
        *quick_words,
        f"paths.runs={tmp_path_factory.mktemp('runs')}",
        f"teacher.run={teacher_run}",
        *WORDS,
    ]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = stage_config(Request(compose("config", overrides=words)), "distill")
    run_label(config, label_folder(config))
    return label_folder(config)


@pytest.fixture
def other_teacher(teacher_run, tmp_path) -> Path:
    folder = tmp_path / "other"
    shutil.copytree(teacher_run, folder)
    return folder


def change_weights(run: Path) -> None:
    state = load_file(run / "network.safetensors")
    save_file({name: 0.9 * tensor for name, tensor in state.items()}, run / "network.safetensors")


# What is stored


@pytest.mark.parametrize(
    ("words", "tolerance"),
    [
        (("labels.dtype=float32",), 1e-5),
        (("labels.dtype=float16",), 2e-3),
        (("labels.dtype=float32", "labels.top_k=3"), 1e-5),  # of four classes: nothing is lost
        (("labels.dtype=float32", "transfer=standardised"), 1e-5),
        (("labels.dtype=float16", "transfer=hints", "transfer.terms.hint.teacher=blocks.1"), 2e-3),
        (("labels.dtype=float32", "++corpus.augment.mixup=0.5"), 1e-5),
    ],
    ids=["float32", "float16", "top-k", "standardised", "hints", "mixup"],
)
def test_stored_and_live_teacher_give_the_same_loss(label_config, words, tolerance):
    config = label_config(*words)
    run_label(config, label_folder(config))
    alone = label_config(*words, "teacher.stored=false", f"corpus.views={VIEWS}")
    live = build_experiment(alone, Path(config["folder"]))
    distiller, datamodule = live.distiller.eval(), live.datamodule
    datamodule.use_labels(open_stored(config, datamodule))
    losses = []
    for batch in datamodule.train_dataloader():
        with torch.no_grad():
            heard = distiller.run_networks(batch._replace(stored=None))
            read = heard._replace(teacher=KeywordOutput(batch.stored.logits), teacher_taps=batch.stored.taps)
            for key, term in distiller.terms.items():
                ours, theirs = float(term(read).sum), float(term(heard).sum)
                assert ours == pytest.approx(theirs, rel=tolerance), key
                losses.append(theirs)
    assert len(losses) == 6 * len(distiller.terms)
    assert min(losses) > 0


def test_an_ensemble_is_stored_as_one_voice(label_config, teacher_run, other_teacher):
    change_weights(other_teacher)
    config = label_config("labels.dtype=float32", f"teacher.run=[{teacher_run},{other_teacher}]")
    run_label(config, label_folder(config))
    datamodule = build_corpus(config)
    datamodule.use_labels(open_stored(config, datamodule))
    batch = next(iter(datamodule.train_dataloader()))
    each = [
        finished_model(run)[0](batch.waveform, batch.masks).logits.softmax(1)
        for run in (teacher_run, other_teacher)
    ]
    torch.testing.assert_close(batch.stored.logits.softmax(1), torch.stack(each).mean(0))
    alone = label_config("labels.dtype=float32")
    with pytest.raises(
        ValueError, match=r'another teacher \(teacher: \["\w+", "\w+"\] stored, "\w+" in this run'
    ):
        open_stored(alone, build_corpus(alone))


def test_the_batch_size_of_the_run_changes_no_byte(store, label_config):
    config = label_config("corpus.batch_size=5")
    run_label(config, label_folder(config))
    assert content(label_folder(config)) == content(store)


KILLS = [
    (f"{when} {name}", nth)
    for when in ("before", "after")
    for name, nth in ((SHARD, 1), (SHARD, 3), (INDEX, 1))
]


@pytest.mark.parametrize("point", KILLS, ids=lambda point: f"{point[0]}, {point[1]}")
def test_a_killed_labelling_goes_on_and_leaves_the_same_bytes(store, label_config, monkeypatch, point):
    config = label_config()
    folder = label_folder(config)
    with monkeypatch.context() as patch:
        Points(patch, folder, point)
        with pytest.raises(Killed):
            run_label(config, folder)
    written = {path: path.stat().st_mtime_ns for path in folder.glob(f"view_*/{SHARD}")}
    if point[0] != f"after {INDEX}":
        with pytest.raises(FileNotFoundError, match=r"not finished|holds no labels"):
            open_stored(config, build_corpus(config))
    run_label(config, folder)
    assert content(folder) == content(store)
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_a_full_disk_names_the_shard_and_leaves_nothing_half_written(label_config, monkeypatch):
    config = label_config()
    folder = label_folder(config)
    own = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "view_001" in str(path):
            own(path, data[:100])
            raise OSError(28, "No space left on device")
        return own(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(
            OSError, match=r"view_001/block_0000\.safetensors could not be written .*No space left"
        ):
            run_label(config, folder)
    assert list(content(folder)) == [f"view_000/{SHARD}"]
    run_label(config, folder)
    assert build_labelling(config, folder).writer.is_finished


def test_one_folder_is_labelled_by_one_process(label_config):
    from filelock import FileLock

    folder = label_folder(label_config())
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(OSError, match="another process"):
        run_label(label_config(), folder)


# What is refused


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("seed=1", r"another seed \(augment\.seed: 0 stored, 1 in this run\)"),
        (
            "corpus.augment.clean=0.5",
            r"another augmentation \(augment\.clean: 0\.25 stored, 0\.5 in this run\)",
        ),
        ("corpus.augment=null", r"another augmentation"),
        ("labels.views=4", r"another number of views \(views: 3 stored, 4 in this run\)"),
        ("corpus.limit=40", r"another corpus \(corpus: "),
        ("corpus.words=[yes,no,stop]", r"another corpus|another set of classes"),
        ("labels.top_k=2", r"another top-k \(top_k: null stored, 2 in this run\)"),
        (
            "transfer=hints transfer.terms.hint.teacher=blocks.1",
            r'another choice of activations \(taps: \[\] stored, \["blocks\.1"\] in this run\)',
        ),
    ],
)
def test_a_run_of_other_views_is_told_what_differs(store, label_config, word, said):
    config = label_config(*word.split(), f"teacher.stored={store}")
    with pytest.raises(ValueError, match=f"holds labels of {said}"):
        open_stored(config, build_corpus(config))
    if "words" not in word:  # whose teacher knows more classes
        with pytest.raises(FileExistsError, match=f"holds labels of {said}"):
            run_label(config, store)


def test_labels_of_another_teacher_are_refused(store, label_config, other_teacher):
    change_weights(other_teacher)
    config = label_config(f"teacher.run={other_teacher}", f"teacher.stored={store}")
    with pytest.raises(
        ValueError, match=r'labels of another teacher \(teacher: "\w+" stored, "\w+" in this run\)'
    ):
        open_stored(config, build_corpus(config))


def test_labels_of_another_frontend_are_refused(store, label_config, other_teacher):
    config = json.loads((other_teacher / "config.json").read_text())
    config["student"]["frontend"]["floor_db"] = 50.0
    (other_teacher / "config.json").write_text(json.dumps(config))
    config = label_config(f"teacher.run={other_teacher}", f"teacher.stored={store}")
    with pytest.raises(
        ValueError, match=r"another frontend \(frontend\.floor_db: 60\.0 stored, 50\.0 in this run\)"
    ):
        open_stored(config, build_corpus(config))


def test_the_same_teacher_in_another_place_is_the_same(store, label_config, other_teacher):
    config = label_config(f"teacher.run={other_teacher}", f"teacher.stored={store}")
    assert len(open_stored(config, build_corpus(config)).read([0, 5], [1, 2]).logits) == 2


def test_a_corpus_in_another_place_is_the_same(store, label_config, corpus_root, tmp_path):
    elsewhere = tmp_path / "elsewhere" / corpus_root.name
    shutil.copytree(corpus_root, elsewhere)
    config = label_config(f"corpus.root={elsewhere}", f"teacher.stored={store}")
    assert (
        fingerprint_of(config, build_corpus(config)).corpus
        == json.loads((store / INDEX).read_text())["fingerprint"]["corpus"]
    )


def test_labels_without_a_teacher_name_the_key(config_of):
    config = config_of("distill", *WORDS)
    with pytest.raises(ValueError, match=r"teacher\.run=<folder of a finished run>"):
        run_label(config, label_folder(config))
    assert content(label_folder(config)) == {}


def test_more_than_the_classes_cannot_be_stored(label_config):
    config = label_config("labels.top_k=5")
    with pytest.raises(ValueError, match=r"labels\.top_k=5 of 4 classes"):
        run_label(config, label_folder(config))


def losses(run: Path) -> list[float]:
    lines = [line.split(",") for line in (run / "curves.csv").read_text().splitlines()]
    return [float(value) for _, key, value in lines if key == "train/loss"]


def test_a_pipeline_asks_its_teacher_once_and_learns_what_it_would_have_learnt(request_of):
    pipeline(request_of(*WORDS))
    request = request_of(*WORDS)
    configs = stage_configs(request)
    runs = Path(configs["distill"]["folder"]).parent
    assert (runs / "label" / INDEX).is_file()
    seen = {
        stage: json.loads((runs / stage / "config.json").read_text())["corpus"]["views"] for stage in configs
    }
    assert seen == {"teacher": 4, "baseline": VIEWS, "distill": VIEWS, "finetune": VIEWS}
    assert build_experiment(configs["distill"], runs / "again").distiller.teacher is None

    live = request_of(
        "teacher.stored=false", f"corpus.views={VIEWS}", f"teacher.run={runs / 'teacher'}", "name=live"
    )
    config = stage_configs(live)["distill"]
    run_stage(config)
    assert losses(runs / "distill") == pytest.approx(losses(Path(config["folder"])), rel=5e-3)


# The command


def command(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kd_lightning.label", *words],
        cwd=cwd,
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
        timeout=280,
        check=False,
    )


def test_the_command_labels_views_and_finds_them_done(quick_words, teacher_run, tmp_path):
    words = [*quick_words, WORDS[0], f"teacher.run={teacher_run}", "name=mine"]
    done = command(*words, "views=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "mine" / "label"
    assert sorted(content(folder)) == [INDEX, f"view_000/{SHARD}", f"view_001/{SHARD}"]
    done = command(*words, "views=2", cwd=tmp_path)
    assert "is finished: skipped" in done.stderr
    done = command(*words, "views=5", cwd=tmp_path)
    assert done.returncode == 1
    assert "labels of another number of views (views: 2 stored, 5 in this run)" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.ddp
@pytest.mark.parametrize("views", [3, 1])
def test_two_ranks_write_what_one_writes(store, quick_words, teacher_run, tmp_path, views):
    words = [*quick_words, WORDS[0], f"teacher.run={teacher_run}", "name=two", f"views={views}"]
    done = command(*words, "trainer=ddp", "trainer.devices=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    whole = {
        name: bytes for name, bytes in content(tmp_path / "runs" / "two" / "label").items() if name != INDEX
    }
    if views == VIEWS:
        assert content(tmp_path / "runs" / "two" / "label") == content(store)
    assert len(whole) == views
