"""How long a user waits for help and for a config error."""

import subprocess
import sys
import time

import pytest

TRIES = 5
BOUND = 3.0


@pytest.mark.parametrize(
    ("module", "word"),
    [
        ("train", "--help"),
        ("pipeline", "--help"),
        ("train", "optimiser=adam"),
        ("pipeline", "student=nothing"),
    ],
)
def test_the_answer_comes_within_three_seconds(module, word, tmp_path, say):
    command = [sys.executable, "-m", f"kd_lightning.{module}", word]
    seconds = []
    for _ in range(TRIES):
        begin = time.perf_counter()
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        seconds.append(time.perf_counter() - begin)
        assert done.returncode == (0 if word == "--help" else 1), done.stderr
    say(f"{module} {word}: {min(seconds):.2f} s at best, {max(seconds):.2f} s at worst of {TRIES}")
    assert min(seconds) <= BOUND
