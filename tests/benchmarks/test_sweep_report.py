"""How long the report of a large sweep takes, and how much memory: a fresh process, as a user starts it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

RUNS, CLIPS, SPEAKERS, SEEDS = 200, 1000, 30, 5
SECONDS, GIGABYTE = 20.0, 1e9
STUDENTS = {"tc_resnet8_tiny": (9_102, 43_112, 0.50), "ds_cnn_s": (23_800, 98_000, 0.71)}
TRANSFERS = ("none", "logits", "hints", "dkd", "standardised")
RATES = ("0.003", "0.008", "0.02", "0.05")
WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")


def write_sweep(folder: Path) -> None:
    """Two hundred finished runs of keyword spotters: 40 settings, five seeds, a thousand test clips each."""
    rng = np.random.default_rng(0)
    hard = rng.random(CLIPS)
    grid = [(student, transfer, rate) for student in STUDENTS for transfer in TRANSFERS for rate in RATES]
    for student, transfer, rate in grid:
        for seed in range(SEEDS):
            words = [f"student={student}", f"transfer={transfer}", f"optimizer.lr={rate}", f"seed={seed}"]
            share = 0.8 + 0.02 * TRANSFERS.index(transfer) - 0.01 * RATES.index(rate) + rng.normal(0, 0.01)
            write_run(folder / ",".join(words), words, student, seed, hard < share, rng)


def write_run(
    folder: Path, words: list[str], student: str, seed: int, right: np.ndarray, rng: np.random.Generator
) -> None:
    """A run's config, metrics and predictions, as long as those of a real one."""
    folder.mkdir(parents=True)
    params, size, latency = STUDENTS[student]
    corpus = {
        "_target_": "kd_lightning.corpora.speech_commands.SpeechCommands",
        "root": None,
        "labelled_fraction": 0.1,
    }
    config = {"task": "keyword", "seed": seed, "corpus": corpus, "overrides": words, "classes": list(WORDS)}
    accuracy = float(right.mean())
    metrics = {
        "stage": "distill",
        "network": "TCResNet" if student.startswith("tc") else "DSCNN",
        "seed": seed,
        "params": params,
        "macs": 160 * params,
        "size_bytes": size,
        "latency_ms": {"p50": latency * rng.uniform(1, 1.2), "p95": 1.3 * latency},
        "metrics": {"accuracy": accuracy, "f1": accuracy, "ece": 0.02},
        "intervals": {"accuracy": [accuracy - 0.02, accuracy + 0.02]},
    }
    scores, snr = rng.random(CLIPS), np.random.default_rng(1).normal(8, 6, CLIPS)
    lines = [
        {
            "cut": f"{WORDS[cut % 10]}/{cut % SPEAKERS:08x}_nohash_{cut}.wav",
            "reference": WORDS[cut % 10],
            "output": WORDS[cut % 10 if right[cut] else (cut + 3) % 10],
            "score": float(scores[cut]),
            "speaker": f"{cut % SPEAKERS:08x}",
            "snr": None if cut % 3 == 0 else float(snr[cut]),
        }
        for cut in range(CLIPS)
    ]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "metrics.json").write_text(json.dumps(metrics))


def test_two_hundred_runs_in_twenty_seconds_and_a_gigabyte(tmp_path, say):
    write_sweep(tmp_path / "sweep")
    command = [sys.executable, "-m", "kd_lightning.report", "runs=sweep"]
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    # wait4 tells the peak of this child alone.
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begin
    assert os.waitstatus_to_exitcode(status) == 0
    process.returncode = 0
    cpu, peak = used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss
    sweep = json.loads((tmp_path / "sweep" / "report" / "comparison.json").read_text())
    assert sum(len(row["seeds"]) for row in sweep["rows"]) == RUNS
    say(
        f"report of {RUNS} runs of {CLIPS} clips: {wall:.1f} s, {cpu:.1f} s of CPU, {peak / 1e6:.0f} MB at most"
    )
    # On a machine that others use, the CPU's seconds are what the report takes.
    assert cpu <= SECONDS
    assert peak <= GIGABYTE
