"""Synthetic run folders in the format that finished stages write."""

import json
from pathlib import Path

import numpy as np

WORDS = [
    "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go",
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
]  # fmt: skip
SHARES = {"teacher": 0.93, "baseline": 0.80, "distill": 0.86, "finetune": 0.88}


def predictions(share: float, cuts: int, words: list[str], speakers: int, seed: int) -> list[dict]:
    """Cuts of which about `share` are right; one draw decides for every share, so better networks nest."""
    rng = np.random.default_rng(0)
    hard, ability, snr = (
        rng.random(cuts),
        rng.normal(0, 0.04, speakers),
        rng.choice([20.0, 8.0, 0.0, np.nan], cuts),
    )
    guess = np.random.default_rng(seed + int(1000 * share))
    rows = []
    for cut in range(cuts):
        speaker, word = cut % speakers, words[cut % len(words)]
        chance = share + ability[speaker] + (-0.06 if snr[cut] == 0.0 else 0.02) + guess.normal(0, 0.02)
        right = hard[cut] < chance
        output = word if right else words[(cut + 1 + int(guess.integers(0, 3))) % len(words)]
        rows.append(
            {
                "cut": f"{word}/{speaker:08x}_nohash_{cut}",
                "reference": word,
                "output": output,
                "score": float(np.clip(guess.beta(9, 1.5) if right else guess.beta(4, 3), 0, 1)),
                "speaker": f"{speaker:08x}",
                "snr": None if np.isnan(snr[cut]) else float(snr[cut]),
            }
        )
    return rows


def write_run(
    folder: Path,
    stage: str = "finetune",
    share: float = 0.9,
    cuts: int = 600,
    words: list[str] = WORDS,
    speakers: int = 30,
    seed: int = 0,
    config: dict | None = None,
    results: dict | None = None,
) -> Path:
    """A finished run folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = predictions(share, cuts, words, speakers, seed)
    accuracy = float(np.mean([row["reference"] == row["output"] for row in rows]))
    large = stage == "teacher"
    steps = {"teacher": 2000, "baseline": 1500, "distill": 1100, "finetune": 400}.get(stage, 1000)
    metrics = {
        "stage": stage,
        "network": "TCResNet",
        "seed": seed,
        "params": 305_012 if large else 9_102,
        "macs": 8_210_000 if large else 310_000,
        "size_bytes": 1_262_000 if large else 41_300,
        "latency_ms": {"p50": 2.31 if large else 0.74, "p95": 2.9 if large else 0.95},
        "real_time_factor": 0.00231 if large else 0.00074,
        "train_seconds": 143.2 if large else 48.1,
        "steps": steps,
        "metrics": {
            "accuracy": accuracy,
            "precision": accuracy,
            "recall": accuracy,
            "f1": accuracy,
            "ece": 0.03,
        },
        "intervals": {"accuracy": [accuracy - 0.01, accuracy + 0.01]},
        "notes": ["copied 12 of 40 tensors from the teacher"] if stage == "distill" else [],
    }
    settings = {
        "task": "speech_commands",
        "name": folder.parent.name,
        "seed": seed,
        "classes": words,
        "overrides": [],
        "corpus": {
            "_target_": "kd_lightning.corpora.speech_commands.SpeechCommands",
            "root": None,
            "download": False,
            "labelled_fraction": 1.0 if large else 0.1,
        },
    }
    (folder / "metrics.json").write_text(json.dumps(metrics | (results or {})))
    (folder / "config.json").write_text(json.dumps(settings | (config or {})))
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rng = np.random.default_rng(seed)
    lines = ["step,key,value"]
    for step in range(10, steps + 1, 10):
        falling = 3 * np.exp(-4 * step / steps) + 0.2 + rng.normal(0, 0.05)
        lines.append(f"{step},train/loss,{falling:.5f}")
        lines.append(f"{step},train/cross_entropy,{0.6 * falling:.5f}")
        if stage == "distill":
            lines.append(f"{step},train/soft_targets,{1.4 * falling:.5f}")
        if step % 50 == 0:
            lines.append(f"{step},validation/accuracy,{accuracy * (1 - np.exp(-5 * step / steps)):.4f}")
    (folder / "curves.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_export(folder: Path, **changed: object) -> Path:
    """The description of an exported file."""
    export = {
        "format": "onnx",
        "precision": "fp32",
        "file": "onnx_fp32.onnx",
        "size_bytes": 90_300,
        "latency_ms": {"p50": 0.31, "p95": 0.4},
        "real_time_factor": 0.00031,
        "metrics": {"accuracy": 0.88},
        "intervals": {"accuracy": [0.86, 0.9]},
        "max_abs_difference": 3.2e-6,
    }
    (folder / "deploy").mkdir(exist_ok=True)
    path = folder / "deploy" / "onnx_fp32.json"
    path.write_text(json.dumps(export | changed))
    return path
