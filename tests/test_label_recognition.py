"""What a recogniser says of sentences, stored: the same lesson as from the live teacher, however batches are cut."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jiwer
import pytest
import torch
from hydra import compose, initialize_config_dir
from kills import Killed, Points
from safetensors.torch import load_file, save_file

from kd_lightning.corpora.buckets import Item
from kd_lightning.experiment.build import build_corpus, build_experiment
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.experiment.labelling import build_labelling
from kd_lightning.experiment.stored_labels import open_stored
from kd_lightning.frontend.text import scoring_form
from kd_lightning.labelling import run_label
from kd_lightning.labels.format import INDEX
from kd_lightning.stages import run_stage

QUARTZNETS = (
    *("experiment=common_voice", "teacher=quartznet_teacher", "student=quartznet_small"),
    *("student.network.channels=[16,16,16]", "teacher.network.channels=[16,16,16,16]"),
)
VIEWS = 2
STORED = (f"labels.views={VIEWS}", "teacher.stored=true")
SHARD = "block_0000.safetensors"
LINES = "hypotheses_0000.jsonl"


def content(folder: Path) -> dict[str, bytes]:
    """The store's own files."""
    files = [folder / INDEX, *folder.glob("view_*/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.is_file()}


def label_folder(config: dict[str, Any]) -> Path:
    return Path(config["folder"]).parent / "label"


def lines(folder: Path, view: int = 0) -> list[dict[str, Any]]:
    text = (folder / f"view_{view:03d}" / LINES).read_text()
    return [json.loads(line) for line in text.splitlines()]


def composed(words: list[str], folder: Path, stage: str = "distill") -> dict[str, Any]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return stage_config(Request(compose("config", overrides=[*words, f"paths.runs={folder}"])), stage)


def untrained_run(words: list[str], folder: Path) -> Path:
    """A teacher's folder, as its stage leaves it, with weights that say something of every frame."""
    config = composed(words, folder, "teacher")
    built = build_experiment(config, folder)
    state = built.distiller.student.state_dict()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in state.items():
        if tensor.ndim > 1:
            state[name] = tensor + 0.5 * tensor.std() * torch.randn(tensor.shape, generator=generator)
    if "network.ctc.bias" in state:
        state["network.ctc.bias"][0] -= 1.0  # it says more than blank
    save_file(state, folder / "network.safetensors")
    (folder / "config.json").write_text(json.dumps(config | {"classes": built.datamodule.classes}))
    return folder


@pytest.fixture(scope="module")
def teacher(sentence_words, tmp_path_factory) -> Path:
    return untrained_run([*sentence_words, *QUARTZNETS], tmp_path_factory.mktemp("teacher"))


@pytest.fixture
def config_of(sentence_words, teacher, tmp_path) -> Callable[..., dict[str, Any]]:
    """The config of a distill stage that learns from stored labels."""

    def make(*words: str) -> dict[str, Any]:
        every = [*sentence_words, *QUARTZNETS, *STORED, f"teacher.run={teacher}", *words]
        return composed(every, tmp_path / "runs")

    return make


@pytest.fixture(scope="module")
def store(sentence_words, teacher, tmp_path_factory) -> Path:
    """What the teacher says of frames and what it hears, made in one go."""
    words = [*sentence_words, *QUARTZNETS, *STORED, f"teacher.run={teacher}", "labels.dtype=float32"]
    config = composed(words, tmp_path_factory.mktemp("runs"))
    run_label(config, label_folder(config))
    return label_folder(config)


# What is stored


HINT = ("transfer=ctc_hints", "transfer.terms.hint.student=blocks.1", "transfer.terms.hint.teacher=blocks.3")


@pytest.mark.parametrize(
    ("words", "tolerance"),
    [
        (("labels.dtype=float32", "transfer=sequence_frames"), 1e-5),
        (("labels.max_wer=0.5", "labels.decoding.beam=4", "transfer=sequence"), 1e-5),
        (("labels.dtype=float16", "transfer=ctc_symmetric"), 2e-3),
        # The tail of all classes but one is that class: nothing is lost.
        (("labels.dtype=float32", "labels.top_k={all_but_one}", "transfer=ctc_frames"), 1e-5),
        (("labels.dtype=float16", *HINT), 2e-3),
    ],
    ids=["sequence and frames", "filtered beam", "float16", "top-k", "hints"],
)
def test_stored_and_live_teacher_give_the_same_loss(config_of, teacher, words, tolerance):
    classes = json.loads((teacher / "config.json").read_text())["classes"]
    words = [word.format(all_but_one=len(classes) - 1) for word in words]
    config = config_of(*words)
    run_label(config, label_folder(config))
    alone = config_of(*words, "teacher.stored=false", f"corpus.views={VIEWS}")
    live = build_experiment(alone, Path(config["folder"]))
    distiller, datamodule = live.distiller.eval(), live.datamodule
    datamodule.use_labels(open_stored(config, datamodule))
    losses = []
    for batch in datamodule.train_dataloader():
        with torch.no_grad():
            read = distiller.run_networks(batch)
            heard = distiller.run_networks(batch._replace(stored=None))
            if heard.hypotheses is not None:
                torch.testing.assert_close(read.hypotheses, heard.hypotheses, rtol=1e-4, atol=1e-4)
            for key, term in distiller.terms.items():
                ours, theirs = float(term(read).sum), float(term(heard).sum)
                assert ours == pytest.approx(theirs, rel=tolerance), key
                losses.append(theirs)
    assert len(losses) >= 3 * len(distiller.terms)
    assert min(losses) > 0


def test_batches_cut_otherwise_bring_the_same_labels(store, config_of):
    config = config_of(f"teacher.stored={store}", "labels.dtype=float32")
    datamodule = build_corpus(config)
    datamodule.use_labels(open_stored(config, datamodule))
    dataset = datamodule.train_dataloader().dataset
    every = dataset.__getitems__([Item(utterance, 1) for utterance in range(len(dataset))]).stored
    for utterance in range(len(dataset)):
        alone = dataset[Item(utterance, 1)].stored
        frames, tokens = int(alone.lengths), int(alone.heard.lengths)
        assert int(every.lengths[utterance]) == frames
        assert torch.equal(alone.logits[0], every.logits[utterance, :frames])
        assert not every.logits[utterance, frames:].any()
        assert torch.equal(alone.heard.tokens[0], every.heard.tokens[utterance, :tokens])
        assert torch.equal(alone.heard.confidence[0], every.heard.confidence[utterance])


def test_the_batches_of_the_run_change_no_byte(store, config_of):
    config = config_of("corpus.batch_seconds=5", "labels.dtype=float32")
    run_label(config, label_folder(config))
    assert content(label_folder(config)) == content(store)


def test_a_recipe_of_hypotheses_stores_no_frames_and_reads_none(store, config_of):
    config = config_of("transfer=sequence")
    run_label(config, label_folder(config))
    stored = load_file(label_folder(config) / "view_000" / SHARD)
    assert set(stored) == {"text", "offsets/text", "confidence", "ended", "wer"}
    # A store that holds more serves it too, whatever the precision of its frames.
    richer = config_of("transfer=sequence", f"teacher.stored={store}")
    datamodule = build_corpus(richer)
    said, heard = open_stored(richer, datamodule).read([3, 5], [0, 1])
    assert (said.logits, said.lengths, said.taps) == (None, None, {})
    assert [one.text for one in heard] == [lines(store, 0)[3]["text"], lines(store, 1)[5]["text"]]


def test_hypotheses_can_be_read_by_people_and_their_errors_are_jiwers(store, config_of):
    config = config_of("labels.dtype=float32")
    datamodule = build_corpus(config)
    dataset = datamodule.train_dataloader().dataset
    every = dataset.__getitems__([Item(utterance, 0) for utterance in range(len(dataset))])
    said = lines(store)
    assert [line["cut"] for line in said] == every.ids
    assert any(line["text"] for line in said)
    for line, text, visible in zip(said, every.texts, every.labelled.tolist(), strict=True):
        assert 0 < line["confidence"] <= 1
        if visible:
            forms = scoring_form(text, "en"), scoring_form(line["text"], "en")
            assert line["wer"] == pytest.approx(jiwer.wer(*forms), abs=1e-4)
        else:
            assert line["wer"] is None
    assert {line["wer"] is None for line in said} == {True, False}


@pytest.mark.parametrize("most", [0.5, 1.0])
def test_hypotheses_with_too_many_errors_are_left_out_where_the_transcript_is_seen(store, config_of, most):
    words = (f"teacher.stored={store}", "labels.dtype=float32", f"labels.max_wer={most}")
    config = config_of(*words)
    datamodule = build_corpus(config)
    datamodule.use_labels(open_stored(config, datamodule))
    dataset = datamodule.train_dataloader().dataset
    batch = dataset.__getitems__([Item(utterance, 0) for utterance in range(len(dataset))])
    # A teacher that was never trained hears no word right.
    rates = [line["wer"] for line in lines(store)]
    assert batch.stored.heard.trusted.tolist() == [rate is None or rate <= most for rate in rates]
    assert batch.stored.heard.trusted[~batch.labelled].all()
    assert batch.stored.heard.trusted[batch.labelled].any() == (most == 1.0)

    config = config_of(*words, "corpus.labelled_fraction=1.0")
    datamodule = build_corpus(config)
    datamodule.use_labels(open_stored(config, datamodule))
    with pytest.raises(ValueError, match=r"labels\.max_wer=.*: the transcript of \S+ was hidden when"):
        list(datamodule.train_dataloader())


def test_a_filter_without_hypotheses_is_refused(store, config_of):
    config = config_of(f"teacher.stored={store}", "transfer=ctc_frames", "labels.max_wer=0.1")
    with pytest.raises(ValueError, match=r"labels\.max_wer=0\.1 .* no term learns from them"):
        open_stored(config, build_corpus(config))


def test_a_beam_finds_what_greedy_finds_where_the_teacher_is_sure(config_of):
    config = config_of("transfer=sequence", "labels.decoding.beam=8")
    run_label(config, label_folder(config))
    stored = load_file(label_folder(config) / "view_000" / SHARD)
    assert stored["confidence"].min() > 0
    greedy = config_of("transfer=sequence")
    with pytest.raises(
        ValueError, match=r"another way to decode \(decoding\.beam: 8 stored, 1 in this run\)"
    ):
        open_stored(greedy, build_corpus(greedy))


# Resuming, ranks


@pytest.mark.parametrize("point", [(f"before {SHARD}", 2), (f"after {LINES}", 1), (f"before {INDEX}", 1)])
def test_a_killed_labelling_goes_on_and_leaves_the_same_bytes(store, config_of, monkeypatch, point):
    config = config_of("labels.dtype=float32")
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


def test_the_command_labels_sentences(sentence_words, teacher, tmp_path):
    words = [*sentence_words, *QUARTZNETS, f"teacher.run={teacher}", "views=2"]
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    views = [f"view_{view:03d}/{name}" for view in range(2) for name in (SHARD, LINES)]
    assert sorted(content(tmp_path / "runs" / "quick" / "label")) == sorted([INDEX, *views])


@pytest.mark.ddp
def test_two_ranks_write_what_one_writes(store, sentence_words, teacher, tmp_path):
    words = [*sentence_words, *QUARTZNETS, f"teacher.run={teacher}", f"views={VIEWS}", "labels.dtype=float32"]
    done = command(*words, "trainer=ddp", "trainer.devices=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "runs" / "quick" / "label") == content(store)


def test_a_student_learns_from_the_store_what_it_would_have_learnt_live(config_of):
    words = ("transfer=ctc_frames", "labels.dtype=float32", "distiller.log_every=1")
    stored = config_of(*words)
    run_label(stored, label_folder(stored))
    assert build_experiment(stored, Path(stored["folder"])).distiller.teacher is None
    curves = []
    for number, config in enumerate(
        (stored, config_of(*words, "teacher.stored=false", f"corpus.views={VIEWS}"))
    ):
        config = config | {"folder": str(Path(config["folder"]).parent / f"distill_{number}")}
        run_stage(config)
        rows = [line.split(",") for line in Path(config["folder"], "curves.csv").read_text().splitlines()]
        curves.append([float(value) for _, key, value in rows if key == "train/loss"])
    assert len(curves[0]) >= 3
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)


# Other corpora, other teachers


def test_a_teacher_of_one_corpus_labels_another_in_text(config_of, teacher, libritts_root):
    words = ("corpus=libritts", f"corpus.root={libritts_root}", "corpus.spelling=bpe", "corpus.pieces=40")
    config = config_of(*words, "transfer=sequence")
    run_label(config, label_folder(config))
    datamodule = build_corpus(config)
    datamodule.use_labels(open_stored(config, datamodule))
    loader = datamodule.train_dataloader()
    by_cut = {
        (line["cut"], view): line["text"]
        for view in range(VIEWS)
        for line in lines(label_folder(config), view)
    }
    for batch in loader:
        heard = batch.stored.heard
        for id, tokens in zip(batch.ids, heard.tokens.tolist(), strict=True):
            texts = {by_cut[id, view] for view in range(VIEWS)}
            assert datamodule.tokens.decode(tokens) in {
                datamodule.tokens.decode(loader.dataset.spell(t)) for t in texts
            }

    frames = config_of(*words, "transfer=ctc_frames")
    with pytest.raises(
        ValueError, match=r"its tokens are not those of the corpus: it lacks .*transfer=sequence"
    ):
        run_label(frames, label_folder(frames).with_name("frames"))


def test_labels_of_frames_do_not_teach_a_student_of_other_tokens(store, config_of):
    config = config_of(
        f"teacher.stored={store}", "labels.dtype=float32", "corpus.spelling=bpe", "corpus.pieces=40"
    )
    with pytest.raises(ValueError, match="labels of another set of classes"):
        open_stored(config, build_corpus(config))


def test_labels_of_another_seed_or_kind_are_refused(store, config_of):
    for words, said in (
        (("seed=1",), r"another seed \(augment\.seed: 0 stored, 1"),
        (("labels.views=3",), r"another number of views"),
        (("corpus.max_seconds=2.5",), r"another corpus \(corpus: "),
        (HINT, r'another choice of activations \(taps: \[\] stored, \["blocks\.3"\]'),
    ):
        config = config_of(f"teacher.stored={store}", "labels.dtype=float32", *words)
        with pytest.raises(ValueError, match=f"holds labels of {said}"):
            open_stored(config, build_corpus(config))


DECODERS = (
    *("experiment=common_voice", "teacher=las_small", "student=las_small", "distiller=recognition_attention"),
    *(
        f"{role}.network.{size}=16"
        for role in ("teacher", "student")
        for size in ("hidden", "speller_hidden")
    ),
)


def test_a_decoder_is_stored_in_text_and_refused_token_by_token(sentence_words, tmp_path):
    words = [*sentence_words, *DECODERS]
    teacher = untrained_run(words, tmp_path / "teacher")
    words += [*STORED, f"teacher.run={teacher}"]
    config = composed([*words, "transfer=attention_sequence"], tmp_path / "runs")
    run_label(config, label_folder(config))
    assert all(math.isfinite(line["confidence"]) for line in lines(label_folder(config)))
    built = build_experiment(config, tmp_path / "distill")
    step = built.distiller.run_networks(next(iter(built.datamodule.train_dataloader())))
    loss, _ = built.distiller.weigh({key: term(step) for key, term in built.distiller.terms.items()})
    assert loss.isfinite()
    alone = composed(
        [*words, "transfer=attention_sequence", "teacher.stored=false", f"corpus.views={VIEWS}"], tmp_path
    )
    live = build_experiment(alone, tmp_path / "live").distiller.eval()
    batch = next(iter(built.datamodule.train_dataloader()))
    with torch.no_grad():
        read, heard = (live.run_networks(each) for each in (batch, batch._replace(stored=None)))
    torch.testing.assert_close(read.hypotheses, heard.hypotheses, rtol=1e-4, atol=1e-4)
    assert read.hypotheses.lengths.max() > 0
    tokens = composed([*words, "transfer=attention_tokens"], tmp_path / "runs")
    with pytest.raises(ValueError, match=r"the terms \['soft_tokens'\] read what the teacher's decoder says"):
        build_labelling(tokens, tmp_path / "label")
