"""A run that is cut anywhere and started again ends as the run that was never cut, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from kills import DROPOUT, Killed, Points, results

from kd_lightning.distillers.keyword import KeywordDistiller
from kd_lightning.stages import run_stage


@pytest.fixture(scope="module")
def uncut(quick_words, teacher_run, tmp_path_factory):
    """What the stage leaves behind when nothing happens to it."""
    from hydra import compose, initialize_config_dir

    from kd_lightning.experiment.compose import Request, conf_folder, stage_config

    words = [
        *quick_words,
        DROPOUT,
        f"teacher.run={teacher_run}",
        f"paths.runs={tmp_path_factory.mktemp('uncut')}",
    ]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = stage_config(Request(compose("config", overrides=words)), "distill")
    run_stage(config)
    return results(Path(config["folder"]))


KILLS = [
    *[("on_train_batch_start", nth) for nth in (1, 3, 4, 7, 12)],
    *[("on_train_batch_end", nth) for nth in (2, 6, 11)],
    *[("on_validation_end", nth) for nth in (1, 2, 3)],
    *[("on_train_epoch_end", nth) for nth in (1, 2)],
    *[("on_test_epoch_end", 1), ("before predictions.jsonl", 1), ("before metrics.json", 1)],
    *[("half a line of curves.csv", nth) for nth in (1, 3, 8)],
    *[("half of best.ckpt", 1), ("after best.ckpt", 1)],
    *[(f"{place} last.ckpt", nth) for place in ("half of", "after") for nth in (1, 2, 3, 4, 5, 6)],
]


def run_and_cut(config, monkeypatch, point):
    with monkeypatch.context() as patch:
        Points(patch, Path(config["folder"]), point)
        with pytest.raises(Killed):
            run_stage(config)


@pytest.mark.parametrize("point", KILLS, ids=lambda point: f"{point[0]}, {point[1]}")
def test_a_cut_run_ends_like_the_uncut_one(point, uncut, teacher_run, config_of, monkeypatch):
    config = config_of("distill", DROPOUT, f"teacher.run={teacher_run}")
    run_and_cut(config, monkeypatch, point)
    folder = Path(config["folder"])
    assert not (folder / "metrics.json").exists()
    run_stage(config)
    assert results(folder) == uncut


def test_cut_twice_and_once_more(uncut, teacher_run, config_of, monkeypatch):
    config = config_of("distill", DROPOUT, f"teacher.run={teacher_run}")
    for nth in (5, 2, 4):
        run_and_cut(config, monkeypatch, ("on_train_batch_end", nth))
    run_stage(config)
    assert results(Path(config["folder"])) == uncut


def test_a_finished_stage_is_skipped(teacher_run, config_of, monkeypatch):
    config = config_of("distill", f"teacher.run={teacher_run}")
    first = run_stage(config)
    monkeypatch.setattr(KeywordDistiller, "training_step", lambda *_: pytest.fail("trained again"))
    assert run_stage(config) == first


def test_the_number_of_steps_between_saves_changes_nothing(uncut, teacher_run, config_of):
    config = config_of("distill", DROPOUT, f"teacher.run={teacher_run}", "save_every_steps=5")
    run_stage(config)
    assert results(Path(config["folder"])) == uncut


def test_a_run_that_is_cut_after_a_validation_that_its_checkpoint_does_not_know(
    uncut, teacher_run, config_of, monkeypatch
):
    """One step after the last save: what was validated is validated again, and is in the curves once."""
    config = config_of("distill", DROPOUT, f"teacher.run={teacher_run}", "save_every_steps=5")
    run_and_cut(config, monkeypatch, ("on_train_epoch_end", 1))
    run_stage(config)
    assert results(Path(config["folder"])) == uncut


AVERAGE = (
    "+teacher.average={_target_: kd_lightning.teachers.moving_average.MovingAverage, momentum: 0.8, every: 2}"
)


def taught(folder):
    """The weights of the moving average when the stage has ended."""
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return {name: tensor for name, tensor in state.items() if name.startswith("teacher.")}


def test_a_cut_run_goes_on_with_the_moving_average_that_it_had(config_of, monkeypatch):
    whole = config_of("distill", DROPOUT, AVERAGE, "name=whole")
    run_stage(whole)
    expected = taught(Path(whole["folder"]))
    assert expected
    for point in (("on_train_batch_start", 4), ("after last.ckpt", 2), ("on_train_epoch_end", 1)):
        config = config_of("distill", DROPOUT, AVERAGE, f"name={point[0].replace(' ', '_')}")
        run_and_cut(config, monkeypatch, point)
        run_stage(config)
        assert results(Path(config["folder"])) == results(Path(whole["folder"]))
        after = taught(Path(config["folder"]))
        assert after.keys() == expected.keys()
        assert all(torch.equal(expected[name], tensor) for name, tensor in after.items())


def test_a_cut_run_goes_on_with_the_ranges_that_its_rounding_had(config_of, teacher_run, monkeypatch):
    words = (DROPOUT, f"teacher.run={teacher_run}", "quantisation=int8")
    whole = config_of("distill", *words, "name=whole")
    run_stage(whole)
    last = torch.load(Path(whole["folder"]) / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["state_dict"]["quantisation.batches"] == 12
    for point in (("on_train_batch_start", 4), ("on_train_epoch_end", 1)):
        config = config_of("distill", *words, f"name={point[0]}")
        run_and_cut(config, monkeypatch, point)
        run_stage(config)
        assert results(Path(config["folder"])) == results(Path(whole["folder"]))


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_really_killed_goes_on(sent, uncut, teacher_run, quick_words, tmp_path):
    words = [*quick_words, DROPOUT, f"teacher.run={teacher_run}", f"paths.runs={tmp_path}", "name=killed"]
    command = [sys.executable, "-m", "kd_lightning.train", "stage=distill", *words]
    folder = tmp_path / "killed" / "distill"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    # What a shell starts in the background ignores it, and so would the process.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not (folder / "checkpoints" / "last.ckpt").exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(sent)
    assert process.returncode == (-sent if sent == signal.SIGKILL else 130)
    assert not (folder / "metrics.json").exists()
    subprocess.run(command, env=environment, check=True, stderr=subprocess.DEVNULL)
    assert results(folder) == uncut
