"""The tour of a keyword run works on a finished run, and only reads it."""

import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_shows_and_plays_a_finished_run(tour, quick_words, tmp_path):
    pipeline = [sys.executable, "-m", "kd_lightning.pipeline", *quick_words, "name=tour"]
    done = subprocess.run(
        [*pipeline, f"paths.runs={tmp_path}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = tour("keyword_spotting", KD_RUN=tmp_path / "tour")
    assert shown.pictures >= 7
    assert shown.sounds >= 6
    assert shown.says("Gap recovered")
