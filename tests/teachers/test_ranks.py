"""Two ranks learn from one moving average."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.ddp
def test_the_moving_average_is_the_same_on_all_ranks_whatever_clips_they_hear(tmp_path):
    script = Path(__file__).with_name("average_script.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, env=environment, timeout=240)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert len(set(first)) == len(first) == 4
