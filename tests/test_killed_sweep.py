"""A sweep that is killed goes on: the same command again, or one with a larger grid."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kd_lightning.reports.settings import compare_settings

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
PATIENCE = 600


def start(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "kd_lightning.train", "-m", *words]
    with (folder / "sweep.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log)


def said(folder: Path) -> str:
    return (folder / "sweep.log").read_text()


def finish(words: list[str], folder: Path) -> str:
    """What the sweep says until it ends well."""
    before = len(said(folder)) if (folder / "sweep.log").exists() else 0
    assert start(words, folder).wait(PATIENCE) == 0, said(folder)
    return said(folder)[before:]


def kill_in_training(words: list[str], folder: Path, job: Path) -> None:
    """SIGKILL once another job has finished and this one has a checkpoint, but no results."""
    process = start(words, folder)
    begin = time.monotonic()
    while not (job / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None, said(folder)
        assert time.monotonic() - begin < PATIENCE, said(folder)
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (job / "metrics.json").exists()


@pytest.fixture
def words(quick_words, teacher_run):
    return [
        *(*quick_words, "stage=distill", f"teacher.run={teacher_run}", "name=killed"),
        "stages.distill.trainer.max_epochs=8",
    ]


def weights(folder: Path) -> dict[str, bytes]:
    """The weights of every job, by its name."""
    return {path.parent.name: path.read_bytes() for path in folder.rglob("network.safetensors")}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_sweep_runs_what_is_missing_and_ends_as_if_it_had_not_been_killed(words, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    grid = [*words, "transfer=none", "seed=0,1"]
    finish(grid, whole)
    first, second = sorted(weights(whole))

    jobs = cut / "multirun" / "killed"
    kill_in_training(grid, cut, jobs / second)
    finished = (jobs / first / "metrics.json").stat().st_mtime_ns
    text = finish(grid, cut)
    assert text.count("is finished: skipped") == 1
    assert text.count("going on from") == 1
    assert (jobs / first / "metrics.json").stat().st_mtime_ns == finished
    assert weights(cut) == weights(whole)

    # A larger grid, typed in another order and saved more often, leaves what is there as it is.
    text = finish(["seed=0,1", "transfer=none,logits", *words, "save_every_steps=3"], cut)
    assert text.count("is finished: skipped") == 2
    assert len(weights(cut)) == 4
    sweep = compare_settings(jobs)
    assert sweep["left_out"] == []
    seeds = {row["setting"]: row["seeds"] for row in sweep["rows"]}
    assert seeds == {"transfer=logits": [0, 1], "transfer=none": [0, 1]}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_a_killed_sweep_of_several_processes_goes_on(launcher, words, tmp_path):
    parallel = [*words, "transfer=none", "seed=0,1", f"hydra/launcher={launcher}"]
    parallel += ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else ["hydra.launcher.timeout_min=10"]
    process = start(parallel, tmp_path)
    jobs = tmp_path / "multirun" / "killed"
    begin = time.monotonic()
    while not list(jobs.glob("*/checkpoints/last.ckpt")):
        assert process.poll() is None, said(tmp_path)
        assert time.monotonic() - begin < PATIENCE, said(tmp_path)
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finish(parallel, tmp_path)
    assert len(weights(tmp_path)) == 2
    assert compare_settings(jobs)["left_out"] == []
