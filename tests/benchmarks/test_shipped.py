"""What a student of each task weighs, costs and keeps once it is deployed: fp32, fp16 and int8 beside PyTorch.

Reads finished runs below ``KD_RUNS`` (default ``runs``), of the names that their experiments give them, and exports
copies. Their corpora lie where the runs had them, or in ``KD_DATA``.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kd_lightning.deploy.verdict import KEPT, lost
from kd_lightning.experiment.finished import finished_config
from kd_lightning.export import FORMATS, export

RUNS = {
    "keyword": "speech_commands/finetune",
    "recognition": "common_voice/finetune",
    "synthesis": "libritts_tts/finetune",
    "vocoding": "libritts_vocoder/finetune",
}
PRECISIONS = FORMATS["onnx"].precisions
TRIES = 5
# getrusage would count the memory of the process that started this one.
MEASURED = """
import pathlib, re, runpy, sys
sys.modules["torch"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
print(re.search(r"VmHWM:\\s*(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
"""


@pytest.fixture
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of the finished run of a task."""
    finished = Path(os.environ.get("KD_RUNS", "runs")) / RUNS[request.param]
    if not (finished / "metrics.json").is_file():
        pytest.skip(f"there is no finished {finished}: set KD_RUNS")
    ignored = shutil.ignore_patterns("checkpoints", "wandb", "deploy")
    return Path(shutil.copytree(finished, tmp_path / finished.name, ignore=ignored))


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_each_precision_beside_pytorch(run: Path, say):
    task = finished_config(run)["task"]
    corpus = {"corpus": {"data": os.environ["KD_DATA"]}} if "KD_DATA" in os.environ else {}
    for precision in PRECISIONS:
        export({"run": str(run), "precision": precision} | corpus)
    results = [json.loads((run / "deploy" / f"onnx_{each}.json").read_text()) for each in PRECISIONS]
    network = json.loads((run / "metrics.json").read_text())
    say("\n".join([row(task, "PyTorch", network), *(row(task, one["precision"], one) for one in results)]))
    assert abs(lost(results[0], task)) < 1e-3
    assert lost(results[1], task) <= KEPT[task].tolerance


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_the_script_starts_and_fits(run: Path, say, tmp_path: Path):
    task = finished_config(run)["task"]
    corpus = {"corpus": {"data": os.environ["KD_DATA"]}} if "KD_DATA" in os.environ else {}
    export({"run": str(run)} | corpus)
    words = spoken_words(task, run, tmp_path)
    script = run / "deploy" / "run.py"
    python = os.environ.get("KD_PYTHON", sys.executable)  # of an environment without torch
    seconds = []
    for _ in range(TRIES):
        begin = time.perf_counter()
        done = subprocess.run(
            [python, "-c", MEASURED, script, *words], capture_output=True, text=True, check=True
        )
        seconds.append(time.perf_counter() - begin)
    kilobytes = int(done.stdout.splitlines()[-1])
    say(f"{task}: run.py {min(seconds):.2f} s with the start of Python, at most {kilobytes / 1024:.0f} MB")
    assert kilobytes < 300 * 1024


def spoken_words(task: str, run: Path, folder: Path) -> list[str]:
    """Arguments for a second and a half of audio, or a line of phones."""
    import numpy as np
    import soundfile

    path = folder / "noise.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.05, 24000), 16000)
    if task == "synthesis":
        line = " ".join(finished_config(run)["classes"][2:22])
        return [line, str(folder / "out.wav"), "--phones"]
    return [str(path), str(folder / "out.wav")] if task == "vocoding" else [str(path)]


def row(task: str, name: str, found: dict[str, Any]) -> str:
    """A line of Markdown."""
    kept, latency = KEPT[task], found["latency_ms"]
    key = f"{kept.metric}_change"
    change = (
        kept.written(found["metrics"][key], found["intervals"][key], "+") if key in found["metrics"] else ""
    )
    value = kept.written(found["metrics"][kept.metric], found["intervals"][kept.metric])
    return (
        f"| {task} | {name} | {found['size_bytes'] / 1000:,.0f} kB | {latency['p50']:.2f} / {latency['p95']:.2f} "
        f"| {value} | {change} |"
    )
