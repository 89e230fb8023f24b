"""The comparison of methods works on a finished sweep, and only reads it."""

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_compares_the_recipes_of_a_sweep(tour, quick_words, teacher_run, tmp_path):
    grid = ["transfer=none,logits", "student.network.width=0.25,0.35", "seed=0,1"]
    words = [*quick_words, "stage=distill", f"teacher.run={teacher_run}", f"paths.runs={tmp_path / 'runs'}"]
    words = [word for word in words if not word.startswith("student.network.width=")]
    sweep = [
        sys.executable,
        "-m",
        "kd_lightning.train",
        "-m",
        *words,
        *grid,
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    ]
    done = subprocess.run(sweep, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = tour("comparing_methods", KD_SWEEP=tmp_path / "sweep")
    assert shown.pictures >= 4  # settings, two fronts, curves
    assert shown.sounds >= 1
    assert shown.says("8 finished runs")
    assert shown.says("student.network.width")
    assert shown.says("points over transfer=none")
