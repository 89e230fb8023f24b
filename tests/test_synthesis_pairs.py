"""Pairs of networks that speak go through the whole pipeline, from the corpus to the report."""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file
from speakers import FEED_FORWARD, TACOTRON_STUDENT, TACOTRON_TEACHER

from kd_lightning import stages
from kd_lightning.experiment.build import Experiment, build_experiment
from kd_lightning.experiment.compose import Request, conf_folder
from kd_lightning.labels.format import INDEX
from kd_lightning.metrics import efficiency
from kd_lightning.pipeline import pipeline, stage_configs
from kd_lightning.stages import run_stage

pytestmark = pytest.mark.slow

STAGES = ("teacher", "baseline", "distill", "finetune")
FILES = (
    *("config.json", "metrics.json", "predictions.jsonl", "curves.csv", "network.safetensors"),
    *("checkpoints/best.ckpt", "checkpoints/last.ckpt"),
)
# A teacher that has hardly learnt anything attends to no token, and has to be made to come to an end.
TACOTRON = (
    *("experiment=libritts_tts", *TACOTRON_TEACHER, "distiller.min_focus=0", "corpus.batch_seconds=16"),
    *("stages.teacher.distiller.terms.stop.loss.positive_weight=100", "stages.teacher.trainer.max_epochs=8"),
)
VOCODING = ("experiment=libritts_vocoder", "corpus.batch_size=4", "corpus.segment_seconds=0.2")


def sizes(role: str, **values: object) -> tuple[str, ...]:
    return tuple(f"{role}.network.{key}={value}" for key, value in values.items())


class Pair(NamedTuple):
    """Networks of teacher and student by the names of their classes, and the words that choose them."""

    teacher: str
    student: str
    words: tuple[str, ...]
    stored: bool = False


DECODERS = Pair("Tacotron2", "Tacotron2", (*TACOTRON, *TACOTRON_STUDENT, "teacher.stored=false"))
VOCOS = Pair(
    "Vocos",
    "Vocos",
    (
        *VOCODING,
        *sizes("teacher", channels=16, hidden_channels=32, layers=3),
        *sizes("student", channels=16, hidden_channels=32, layers=2),
    ),
)


def further(pair: Pair, *words: str) -> Pair:
    return pair._replace(words=(*pair.words, *words))


PAIRS = {
    "tacotron to tacotron, mels and alignments": further(
        DECODERS, "transfer=taught_mels_alignment", "copy=spaced_layers", "copy.layers=encoder.convolutions"
    ),
    "tacotron to tacotron, free states": further(
        DECODERS, "transfer=free_states", "student.network.decoder_width=12"
    ),
    "tacotron to feed-forward, stored": Pair(
        "Tacotron2", "FeedForwardAcoustic", (*TACOTRON, *FEED_FORWARD, "teacher.stored=true"), stored=True
    ),
    "waveglow to squeezewave": Pair(
        "WaveGlow",
        "SqueezeWave",
        (
            *(*VOCODING, "teacher=waveglow_small", "student=squeeze_wave_small", "transfer=taught_audio"),
            "+distiller@stages.teacher.distiller=vocoding_flow",
            *sizes("teacher", channels=8, layers=2),
            *sizes("student", channels=8, layers=2, group=40),
        ),
    ),
    "vocos to a smaller one": further(VOCOS, "copy=spaced_layers", "transfer=taught_audio"),
    "vocos to a smaller one, adversarial": further(
        VOCOS,
        *("copy=same_names", "transfer=taught_audio"),
        *("distiller=vocoding_adversarial", "distiller.discriminators.0.width=4"),
        *("distiller.discriminators.1.width=4", "distiller.discriminators.0.periods=[2,3]"),
        "distiller.discriminators.1.resolutions=[[512,120,480]]",
    ),
}


class Finished(NamedTuple):
    """A pipeline that has run: which pair, its folder, and what each stage had built and trained."""

    pair: Pair
    folder: Path
    built: dict[str, Experiment]

    def metrics(self, stage: str) -> dict:
        return json.loads((self.folder / stage / "metrics.json").read_text())

    def config(self, stage: str) -> dict:
        return json.loads((self.folder / stage / "config.json").read_text())

    def curve(self, stage: str, key: str) -> list[float]:
        lines = [line.split(",") for line in (self.folder / stage / "curves.csv").read_text().splitlines()]
        return [float(value) for _, logged, value in lines if logged == key]


def quickly(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(efficiency, "latency", partial(efficiency.latency, seconds=0.2))


@pytest.fixture(scope="module", params=PAIRS)
def finished(request, voice_words, tmp_path_factory):
    pair, runs = PAIRS[request.param], tmp_path_factory.mktemp("pairs")
    words = [*voice_words, "stages.distill.trainer.max_epochs=2", *pair.words, f"paths.runs={runs}"]
    built = {}

    def kept(config, folder):
        return built.setdefault(config["stage"], build_experiment(config, folder))

    with initialize_config_dir(str(conf_folder()), version_base="1.3"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "build_experiment", kept)
        quickly(patch)
        pipeline(Request(compose("config", overrides=words), tuple(words)))
    return Finished(pair, runs / "quick", built)


def test_every_stage_leaves_its_files_and_scores(finished):
    for stage in STAGES:
        assert all((finished.folder / stage / name).is_file() for name in FILES)
        metrics = finished.metrics(stage)
        assert metrics["network"] == (finished.pair.teacher if stage == "teacher" else finished.pair.student)
        low, high = metrics["intervals"]["mcd"]
        assert 0 < low <= metrics["metrics"]["mcd"] <= high
        assert metrics["macs"] > metrics["params"] > 0
        lines = (finished.folder / stage / "predictions.jsonl").read_text().splitlines()
        assert len(lines) == 3
    steps = {stage: finished.metrics(stage)["steps"] for stage in STAGES}
    assert steps["baseline"] == steps["distill"] + steps["finetune"] > 0


def test_the_teacher_teaches_as_it_was_trained(finished):
    """Its parameters and its mode; a stored one is not even built, and no checkpoint has one."""
    distiller = finished.built["distill"].distiller
    assert (finished.folder / "label" / INDEX).is_file() == finished.pair.stored
    assert (distiller.teacher is None) == finished.pair.stored
    saved = torch.load(finished.folder / "distill" / "checkpoints" / "last.ckpt", weights_only=True)
    assert not [key for key in saved["state_dict"] if key.startswith("teacher.")]
    if finished.pair.stored:
        return
    trained = load_file(finished.folder / "teacher" / "network.safetensors")
    taught = distiller.teacher.state_dict()
    assert taught.keys() == trained.keys()
    assert all(torch.equal(taught[name].cpu(), tensor) for name, tensor in trained.items())
    assert not any(parameter.requires_grad for parameter in distiller.teacher.parameters())
    assert not any(module.training for module in distiller.teacher.modules())


def test_the_student_learns_from_the_teacher(finished, tmp_path):
    """Every term says something, and of what is compared to a teacher or a recording there is less than before."""
    experiment = build_experiment(finished.config("distill"), tmp_path)
    distiller = experiment.distiller
    assert any(term.needs_teacher for term in distiller.terms.values())
    for key in distiller.terms:
        curve = torch.tensor(finished.curve("distill", f"train/{key}"))
        assert len(curve) == finished.metrics("distill")["steps"]
        assert curve.isfinite().all()
        assert (curve > 0).any(), key
    batch = next(iter(experiment.datamodule.train_dataloader()))
    before = losses(distiller, batch)
    saved = torch.load(finished.folder / "distill" / "checkpoints" / "last.ckpt", weights_only=True)
    distiller.on_load_checkpoint(saved)
    distiller.load_state_dict(saved["state_dict"])
    after = losses(distiller, batch)
    # A student that begins with the layers of a teacher that has hardly learnt anything says what that says.
    compared = ["mel", "stft"] if copies(finished) else ["mel", "stft", "taught_mel", "taught_stft"]
    assert sum(after.get(key, 0.0) for key in compared) < sum(before.get(key, 0.0) for key in compared)


def copies(finished):
    return any(word.startswith("copy=") for word in finished.pair.words)


@torch.no_grad()
def losses(distiller, batch):
    torch.manual_seed(0)
    step = distiller.run_networks(batch)
    sums = {key: term(step) for key, term in distiller.terms.items()}
    return {key: float(loss.sum / loss.count.clamp(min=1)) for key, loss in sums.items()}


def test_the_student_starts_from_the_teachers_layers_where_it_is_asked_to(finished):
    notes = finished.metrics("distill")["notes"]
    assert any("copied from the teacher" in note for note in notes) == copies(finished)
    assert not any("copied" in note for note in finished.metrics("baseline")["notes"])


def test_the_report_names_the_four_runs(finished):
    comparison = json.loads((finished.folder / "report" / "comparison.json").read_text())
    assert [row["stage"] for row in comparison["rows"]] == list(STAGES)
    assert comparison["task"] == finished.config("distill")["task"]
    for row in comparison["rows"]:
        assert row["metrics"]["mcd"] == pytest.approx(finished.metrics(row["stage"])["metrics"]["mcd"])
    page = (finished.folder / "report" / "index.html").read_text()
    table = (finished.folder / "report" / "comparison.md").read_text()
    assert all(name in text for name in (*STAGES, finished.pair.teacher) for text in (page, table))


def test_a_corpus_without_durations_takes_them_from_the_teachers_attention(
    voice_words, tmp_path, monkeypatch
):
    """Characters have none in any corpus: the pipeline's teacher learns without, and times recordings for students."""
    quickly(monkeypatch)
    words = [*voice_words, *TACOTRON, *FEED_FORWARD, f"paths.runs={tmp_path}", "corpus.spelling=characters"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        request = Request(compose("config", overrides=words), tuple(words))
        pipeline(request)
        configs = stage_configs(request)
    for stage in STAGES:
        metrics = json.loads((tmp_path / "quick" / stage / "metrics.json").read_text())
        assert metrics["metrics"]["mcd"] > 0
    experiment = build_experiment(configs["baseline"], tmp_path / "again")
    distiller = experiment.distiller.train()
    assert distiller.teacher is None
    assert not any(module.training for module in distiller.aligner.modules())
    assert not any(parameter.requires_grad for parameter in distiller.aligner.parameters())
    batch = next(iter(experiment.datamodule.train_dataloader()))
    assert batch.durations is None
    step = distiller.run_networks(batch)
    assert torch.equal(step.target.durations.sum(dim=1), step.target.frames)
    saved = torch.load(tmp_path / "quick" / "baseline" / "checkpoints" / "last.ckpt", weights_only=True)
    assert not [key for key in saved["state_dict"] if key.startswith("aligner.")]
    with pytest.raises(ValueError, match=r"the corpus has no durations.*set aligner="):
        run_stage(configs["baseline"] | {"aligner": None, "folder": str(tmp_path / "alone")})
