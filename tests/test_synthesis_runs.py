"""Networks that speak keep what every task promises: tiny pipelines end, cut runs go on, two ranks are like one."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from kills import Killed, Points, results
from speakers import FEED_FORWARD, TACOTRON_STUDENT, TACOTRON_TEACHER, talkative_run
from spoken_runs import RECOGNISER
from untrained import untrained_run

from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.labels.format import INDEX
from kd_lightning.metrics import efficiency
from kd_lightning.pipeline import pipeline
from kd_lightning.stages import read_metrics, run_stage

STAGES = ("teacher", "baseline", "distill", "finetune")
VOCOS = ("channels=16", "hidden_channels=24", "layers=1")
TINY = {
    "libritts_tts": (*TACOTRON_TEACHER, *FEED_FORWARD),
    "libritts_vocoder": tuple(f"{role}.network.{size}" for role in ("teacher", "student") for size in VOCOS),
}


def composed(words: list[str], stage: str = "distill") -> dict:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return stage_config(Request(compose("config", overrides=words)), stage)


@pytest.fixture(scope="module")
def teacher(voice_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    choice = ("experiment=libritts_tts", *voice_words, *TACOTRON_STUDENT)
    return talkative_run(tmp_path_factory.mktemp("teacher"), *choice)


@pytest.mark.parametrize("experiment", TINY)
def test_a_tiny_pipeline_runs_from_the_embedded_voice_to_the_report(
    experiment, sentence_words, tmp_path, monkeypatch
):
    """The sizes of ``debug=tiny``, with smaller networks."""
    monkeypatch.setattr(efficiency, "latency", partial(efficiency.latency, seconds=0.2))
    recogniser = untrained_run(tmp_path / "recogniser", *RECOGNISER, *sentence_words)
    words = [
        f"recogniser={recogniser}",
        *(f"experiment={experiment}", "debug=tiny", "trainer.enable_progress_bar=false", *TINY[experiment]),
        *(f"paths.data={tmp_path / 'data'}", f"paths.runs={tmp_path / 'runs'}", "callbacks.speech.most=2"),
    ]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        pipeline(Request(compose("config", overrides=words), tuple(words)))
    folder = tmp_path / "runs" / experiment
    assert (folder / "label" / INDEX).is_file() == (experiment == "libritts_tts")
    comparison = json.loads((folder / "report" / "comparison.json").read_text())
    assert [row["stage"] for row in comparison["rows"]] == list(STAGES)
    assert all(row["metrics"]["mcd"] > 0 for row in comparison["rows"])
    assert all("round_trip_cer" in row["metrics"] for row in comparison["rows"])
    for stage in STAGES:
        assert read_metrics(folder / stage)["recogniser"] == str(recogniser)
        lines = (folder / stage / "predictions.jsonl").read_text().splitlines()
        assert 1 <= len(lines) <= 6
        assert len(list((folder / stage / "audio").glob("*.reference.flac"))) == 2


@pytest.fixture(scope="module")
def distilled(voice_words: list[str], teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """What chooses a distillation by a live teacher, and what it leaves behind."""
    words = [
        *("experiment=libritts_tts", *voice_words, *TACOTRON_TEACHER, *TACOTRON_STUDENT),
        *(f"teacher.run={teacher}", "distiller.min_focus=0", "transfer=free_states"),
        *("corpus.batch_seconds=16", "stages.distill.trainer.max_epochs=2"),
    ]
    folder = tmp_path_factory.mktemp("uncut")
    run_stage(composed([*words, f"folder={folder}"]))
    return words, results(folder)


@pytest.mark.parametrize(
    "point", [("on_train_batch_start", 2), ("after last.ckpt", 1), ("on_train_epoch_end", 1)]
)
def test_a_cut_distillation_ends_like_the_uncut_one(point, distilled, tmp_path, monkeypatch):
    """Whom to follow is drawn in every step, and the teacher is in no checkpoint."""
    words, uncut = distilled
    config = composed([*words, f"folder={tmp_path}"])
    with monkeypatch.context() as patch:
        Points(patch, tmp_path, point)
        with pytest.raises(Killed):
            run_stage(config)
    torch.manual_seed(7)  # another process draws otherwise
    run_stage(config)
    assert results(tmp_path) == uncut


RANKS = {
    "libritts_tts": (
        *FEED_FORWARD,
        "student.network.predictor_dropout=0.0",
        "corpus.batch_seconds={size}",
    ),
    "libritts_vocoder": (*TINY["libritts_vocoder"][3:], "corpus.batch_size={size}"),
}


@pytest.mark.ddp
@pytest.mark.parametrize("experiment", RANKS)
def test_two_ranks_learn_and_score_what_one_process_does(experiment, voice_words, tmp_path):
    """The same global batches: twice the seconds, or segments, on one process."""
    losses = []
    for devices, size in ((1, 16), (2, 8)):
        folder = tmp_path / str(devices)
        words = [
            *(
                f"experiment={experiment}",
                *voice_words,
                "stage=baseline",
                "optimizer=sgd",
                "optimizer.lr=0.01",
                "stages.distill.trainer.max_epochs=2",
            ),
            *(word.format(size=size) for word in RANKS[experiment]),
            *("corpus.labelled_fraction=1.0", f"folder={folder}"),
            *(("trainer=ddp", "trainer.devices=2") if devices == 2 else ()),
        ]
        command = [sys.executable, "-m", "kd_lightning.train", *words]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=280)
        curve = [line.split(",") for line in (folder / "curves.csv").read_text().splitlines()[1:]]
        losses.append([(step, key, float(value)) for step, key, value in curve if key.startswith("train/")])
    assert len(losses[0]) == len(losses[1]) >= 6
    for (step, key, one), (same, other, two) in zip(*losses, strict=True):
        assert (step, key) == (same, other)
        assert two == pytest.approx(one, rel=1e-4), (step, key)
    metrics = [json.loads((tmp_path / devices / "metrics.json").read_text())["metrics"] for devices in "12"]
    assert metrics[0].keys() >= {"mcd", "voicing_error"}
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-4)
    predictions = [
        [json.loads(line) for line in (tmp_path / devices / "predictions.jsonl").read_text().splitlines()]
        for devices in "12"
    ]
    assert len(predictions[0]) == 3
    for one, two in zip(*predictions, strict=True):
        assert one["cut"] == two["cut"]
        assert one["metrics"] == pytest.approx(two["metrics"], rel=1e-4)
