"""Pairs of recognisers of different kinds go through the whole pipeline, from the corpus to the report."""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file

from kd_lightning import stages
from kd_lightning.experiment.build import Experiment, build_experiment
from kd_lightning.experiment.compose import Request, conf_folder
from kd_lightning.labels.format import INDEX
from kd_lightning.metrics import efficiency
from kd_lightning.pipeline import pipeline

pytestmark = pytest.mark.slow

STAGES = ("teacher", "baseline", "distill", "finetune")
FILES = (
    *("config.json", "metrics.json", "predictions.jsonl", "curves.csv", "network.safetensors"),
    *("checkpoints/best.ckpt", "checkpoints/last.ckpt"),
)


class Pair(NamedTuple):
    """Networks of teacher and student by the names of their classes, and the words that choose them."""

    teacher: str
    student: str
    words: tuple[str, ...]


CONFORMER = Pair(
    "Conformer",
    "QuartzNet",
    (
        *("teacher=conformer_small", "teacher.network.width=32", "teacher.network.layers=2"),
        *("student=quartznet_small", "student.network.channels=[32,32,32]"),
    ),
)
PAIRS = {
    "deep speech to mobilenet": Pair(
        "DeepSpeech",
        "TimmRecogniser",
        ("teacher=deep_speech_small", "teacher.network.hidden=64", "student=mobilenet_ctc"),
    ),
    "conformer to quartznet": CONFORMER,
    "conformer to quartznet, stored": CONFORMER._replace(
        words=(*CONFORMER.words, "teacher.stored=true", "labels.views=2")
    ),
    "las to efficientnet": Pair(
        "ListenAttendSpell",
        "AttentionRecogniser",
        (
            *("teacher=las_small", "teacher.network.hidden=32", "teacher.network.speller_hidden=32"),
            # EfficientNet-B0 made narrow and shallow (Han et al. 2020).
            *("student=efficientnet_speller", "student.network.encoder.name=tinynet_e"),
            *("distiller=recognition_attention", "transfer=attention_tokens"),
        ),
    ),
}


class Finished(NamedTuple):
    """A pipeline that has run: which pair, its folder, and what each stage had built and trained."""

    pair: Pair
    folder: Path
    built: dict[str, Experiment]

    def metrics(self, stage: str) -> dict:
        return json.loads((self.folder / stage / "metrics.json").read_text())

    def curve(self, stage: str, key: str) -> list[float]:
        lines = [line.split(",") for line in (self.folder / stage / "curves.csv").read_text().splitlines()]
        return [float(value) for _, logged, value in lines if logged == key]


@pytest.fixture(scope="module", params=PAIRS)
def finished(request, sentence_words, tmp_path_factory):
    pair, runs = PAIRS[request.param], tmp_path_factory.mktemp("pairs")
    words = [
        *(*sentence_words, "experiment=common_voice", "distiller.log_every=1", *pair.words),
        *("stages.distill.trainer.max_epochs=2", f"paths.runs={runs}"),
    ]
    built = {}

    def kept(config, folder):
        return built.setdefault(config["stage"], build_experiment(config, folder))

    with initialize_config_dir(str(conf_folder()), version_base="1.3"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "build_experiment", kept)
        patch.setattr(efficiency, "latency", partial(efficiency.latency, seconds=1.0))
        pipeline(Request(compose("config", overrides=words), tuple(words)))
    return Finished(pair, runs / "quick", built)


def test_every_stage_leaves_its_files_and_scores(finished):
    for stage in STAGES:
        assert all((finished.folder / stage / name).is_file() for name in FILES)
        metrics = finished.metrics(stage)
        assert metrics["network"] == (finished.pair.teacher if stage == "teacher" else finished.pair.student)
        assert set(metrics["metrics"]) == {"wer", "cer", "substitutions", "deletions", "insertions"}
        low, high = metrics["intervals"]["wer"]
        assert 0 <= low <= metrics["metrics"]["wer"] <= high
        assert metrics["macs"] > metrics["params"] > 0
    steps = {stage: finished.metrics(stage)["steps"] for stage in STAGES}
    assert steps["baseline"] == steps["distill"] + steps["finetune"] > 0


def test_predictions_are_of_every_test_utterance(finished, common_voice_root):
    rows = next(common_voice_root.rglob("test.tsv")).read_text().splitlines()[1:]
    clips = sorted(Path(row.split("\t")[1]).stem for row in rows)
    for stage in STAGES:
        lines = (finished.folder / stage / "predictions.jsonl").read_text().splitlines()
        assert [json.loads(line)["cut"] for line in lines] == clips


def test_the_teacher_teaches_as_it_was_trained(finished):
    """Its parameters, its BatchNorm's statistics and its mode; a stored one is not even built."""
    stored = "teacher.stored=true" in finished.pair.words
    distiller = finished.built["distill"].distiller
    assert (finished.folder / "label" / INDEX).is_file() == stored
    assert (distiller.teacher is None) == stored
    saved = torch.load(finished.folder / "distill" / "checkpoints" / "last.ckpt", weights_only=True)
    assert not [key for key in saved["state_dict"] if key.startswith("teacher.")]
    if stored:
        return
    trained = load_file(finished.folder / "teacher" / "network.safetensors")
    taught = distiller.teacher.state_dict()
    assert taught.keys() == trained.keys()
    assert all(torch.equal(taught[name].cpu(), tensor) for name, tensor in trained.items())
    assert not any(parameter.requires_grad for parameter in distiller.teacher.parameters())
    assert not any(module.training for module in distiller.teacher.modules())


def test_the_student_learns_from_the_teacher(finished, tmp_path):
    """Every term says something in every step, and their sum over a batch is less than before."""
    config = json.loads((finished.folder / "distill" / "config.json").read_text())
    experiment = build_experiment(config, tmp_path)
    distiller = experiment.distiller
    assert any(term.needs_teacher for term in distiller.terms.values())
    for key in distiller.terms:
        curve = torch.tensor(finished.curve("distill", f"train/{key}"))
        assert len(curve) == finished.metrics("distill")["steps"]
        assert curve.isfinite().all()
        assert (curve > 0).all()
    batch = next(iter(experiment.datamodule.train_dataloader()))
    before = loss(distiller, batch)
    saved = torch.load(finished.folder / "distill" / "checkpoints" / "last.ckpt", weights_only=True)
    distiller.on_load_checkpoint(saved)
    distiller.load_state_dict(saved["state_dict"])
    assert loss(distiller, batch) < before


@torch.no_grad()
def loss(distiller, batch):
    step = distiller.run_networks(batch)
    return float(distiller.weigh({key: term(step) for key, term in distiller.terms.items()})[0])


def test_the_report_names_the_four_runs(finished):
    comparison = json.loads((finished.folder / "report" / "comparison.json").read_text())
    assert [row["stage"] for row in comparison["rows"]] == list(STAGES)
    assert comparison["task"] == "recognition"
    for row in comparison["rows"]:
        assert row["metrics"]["wer"] == pytest.approx(finished.metrics(row["stage"])["metrics"]["wer"])
    page = (finished.folder / "report" / "index.html").read_text()
    table = (finished.folder / "report" / "comparison.md").read_text()
    assert all(name in text for name in (*STAGES, finished.pair.teacher) for text in (page, table))
