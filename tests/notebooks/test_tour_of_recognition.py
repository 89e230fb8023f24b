"""The tour of a recogniser's run works on a finished run, and only reads it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def hear_all(predictions: Path) -> None:
    """Turn what a network said into what was said: after an epoch it says nothing."""
    rows = [json.loads(line) for line in predictions.read_text().splitlines()]
    predictions.write_text("".join(json.dumps(row | {"output": row["reference"]}) + "\n" for row in rows))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_reads_and_plays_what_the_student_lost(tour, sentence_words, tmp_path):
    small = [f"{role}.network.channels=[16,16,16]" for role in ("student", "teacher")]
    words = [
        "experiment=common_voice",
        *sentence_words,
        "name=tour",
        *small,
        "teacher.network.kernels=[3,3,3]",
    ]
    pipeline = [sys.executable, "-m", "kd_lightning.pipeline", *words, f"paths.runs={tmp_path}"]
    done = subprocess.run(pipeline, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    hear_all(tmp_path / "tour" / "teacher" / "predictions.jsonl")
    shown = tour("recognition", KD_RUN=tmp_path / "tour")
    assert shown.pictures >= 4  # views, frames, size, curves
    assert shown.sounds >= 4 + 3 + 2  # utterances, views, and the recording that was asked for
    assert shown.says("\N{MINUS SIGN}")  # a word that the student left out
    assert shown.says("Gap recovered")
