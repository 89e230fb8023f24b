"""Recognition keeps what every task promises: a cut run ends like the uncut one, and two ranks like one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from kills import Killed, Points, results

from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.stages import run_stage

SMALL = (
    *("experiment=common_voice", "student.network.channels=[16,16,16]", "student.network.dropout=0.2"),
    *("corpus.batch_seconds=8", "save_every_steps=2", "distiller.log_every=1"),
)


def config_of(sentence_words, folder, *words):
    every = [*sentence_words, *SMALL, f"folder={folder}", *words]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return stage_config(Request(compose("config", overrides=every)), "baseline")


@pytest.mark.parametrize(
    "point", [("on_train_batch_start", 3), ("after last.ckpt", 2), ("on_train_epoch_end", 1)]
)
def test_a_cut_run_ends_like_the_uncut_one(point, sentence_words, tmp_path, monkeypatch):
    run_stage(config_of(sentence_words, tmp_path / "uncut"))
    config = config_of(sentence_words, tmp_path / "cut")
    with monkeypatch.context() as patch:
        Points(patch, tmp_path / "cut", point)
        with pytest.raises(Killed):
            run_stage(config)
    run_stage(config)
    assert results(tmp_path / "cut") == results(tmp_path / "uncut")


@pytest.mark.ddp
def test_two_ranks_learn_what_one_process_learns(sentence_words, tmp_path):
    """The same global batches: twice the seconds on one process. BatchNorm's statistics would be each rank's own."""
    sizes = ["width=16", "heads=2", "inner=32", "layers=1", "channels=8", "dropout=0.0"]
    network = ["student=transformer_ctc", *(f"student.network.{size}" for size in sizes)]
    losses = []
    for devices, seconds in ((1, 16), (2, 8)):
        folder = tmp_path / str(devices)
        words = [
            *sentence_words,
            *(
                "experiment=common_voice",
                "stage=baseline",
                "distiller.log_every=1",
                "optimizer=sgd",
                "optimizer.lr=0.05",
            ),
            *(f"corpus.batch_seconds={seconds}", f"folder={folder}", *network),
            *(
                ("trainer=ddp", "trainer.devices=2", "trainer.enable_progress_bar=false")
                if devices == 2
                else ()
            ),
        ]
        command = [sys.executable, "-m", "kd_lightning.train", *words]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=280)
        curve = [line.split(",") for line in (folder / "curves.csv").read_text().splitlines()[1:]]
        losses.append([(step, float(value)) for step, key, value in curve if key == "train/ctc"])
    assert len(losses[0]) == len(losses[1]) >= 6
    for (step, one), (same, two) in zip(*losses, strict=True):
        assert step == same
        assert two == pytest.approx(one, rel=1e-4)
    metrics = [json.loads((tmp_path / devices / "metrics.json").read_text())["metrics"] for devices in "12"]
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-6)
    predictions = [Path(tmp_path / devices / "predictions.jsonl").read_text() for devices in "12"]
    assert len(predictions[0].splitlines()) == len(predictions[1].splitlines()) == 8
