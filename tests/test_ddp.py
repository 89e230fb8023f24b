"""Two processes do what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("ddp_script.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def on_ranks(devices: int, batch_size: int, corpus_root: Path, folder: Path) -> tuple[dict, list[str]]:
    folder.mkdir()
    arguments = [
        str(devices),
        str(batch_size),
        str(corpus_root),
        str(folder / "data"),
        str(folder / "result.json"),
    ]
    subprocess.run([sys.executable, str(SCRIPT), *arguments], check=True, env=ENVIRONMENT, timeout=240)
    return json.loads((folder / "result.json").read_text()), (folder / "curves.csv").read_text().splitlines()


@pytest.mark.ddp
def test_the_loss_curve_is_that_of_one_process_with_the_same_global_batch(corpus_root, tmp_path):
    one, curve_of_one = on_ranks(1, 16, corpus_root, tmp_path / "one")
    two, curve_of_two = on_ranks(2, 8, corpus_root, tmp_path / "two")
    assert len(curve_of_one) == len(curve_of_two) > 12 * 4
    for ours, theirs in zip(curve_of_one[1:], curve_of_two[1:], strict=True):
        step, key, value = ours.split(",")
        assert theirs.split(",")[:2] == [step, key]
        assert float(theirs.split(",")[2]) == pytest.approx(float(value), rel=1e-4, abs=1e-5), (step, key)
    assert two["metrics"] == pytest.approx(one["metrics"], abs=1e-5)
    assert [line["cut"] for line in two["predictions"]] == [line["cut"] for line in one["predictions"]]
    for name, tensor in one["weights"].items():
        assert flat(two["weights"][name]) == pytest.approx(flat(tensor), rel=1e-4, abs=1e-5), name


def flat(values: object) -> list[float]:
    return [number for value in values for number in flat(value)] if isinstance(values, list) else [values]


@pytest.mark.ddp
def test_a_pipeline_on_two_ranks_leaves_one_set_of_files(quick_words, tmp_path):
    words = [*quick_words, "trainer=ddp", "trainer.devices=2", f"paths.runs={tmp_path}", "name=two"]
    words = [word for word in words if "enable_progress_bar" not in word] + [
        "trainer.enable_progress_bar=false"
    ]
    command = [sys.executable, "-m", "kd_lightning.pipeline", *words]
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=280)
    for stage in ("teacher", "baseline", "distill", "finetune"):
        lines = (tmp_path / "two" / stage / "predictions.jsonl").read_text().splitlines()
        assert len({json.loads(line)["cut"] for line in lines}) == len(lines) == 40
        assert json.loads((tmp_path / "two" / stage / "metrics.json").read_text())["steps"] > 0
    assert (tmp_path / "two" / "report" / "index.html").exists()


@pytest.mark.ddp
def test_torchrun_starts_the_ranks_of_a_stage(quick_words, tmp_path):
    words = [*quick_words, "trainer=ddp", "trainer.enable_progress_bar=false", f"folder={tmp_path / 'run'}"]
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*start, "-m", "kd_lightning.train", "stage=baseline", *words]
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=240)
    # Both ranks trained: an epoch of 96 clips is three batches of 16 on each.
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["steps"] == 3 * 3
    lines = (tmp_path / "run" / "predictions.jsonl").read_text().splitlines()
    assert len({json.loads(line)["cut"] for line in lines}) == len(lines) == 40
