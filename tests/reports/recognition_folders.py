"""Synthetic folders of recognisers in the format that finished stages write."""

import json
from pathlib import Path

import jiwer
import numpy as np

VOCABULARY = [
    "the", "a", "boat", "river", "house", "sees", "finds", "small", "green", "seven",
    "bring", "letter", "to", "door", "and", "morning", "white", "horse", "under", "bridge",
]  # fmt: skip
# Shares of words that each stage gets wrong.
WRONG = {"teacher": 0.08, "baseline": 0.32, "distill": 0.24, "finetune": 0.2}
STEPS = {"teacher": 2000, "baseline": 1500, "distill": 1100, "finetune": 400}
RATES = ("wer", "cer")


def spoken(share: float, cuts: int = 120, speakers: int = 12) -> list[dict]:
    """Cuts of which about `share` of the words are wrong; one draw decides for every share, so better networks nest."""
    rows = []
    for cut in range(cuts):
        draw = np.random.default_rng(cut)
        words = [VOCABULARY[place] for place in draw.integers(0, len(VOCABULARY), draw.integers(3, 8))]
        hard, kind = draw.random(len(words)), draw.integers(0, 4, len(words))
        chance = share * (1.5 if cut % speakers == 0 else 0.95)
        heard = []
        for word, difficulty, wrong in zip(words, hard, kind, strict=True):
            other = VOCABULARY[(VOCABULARY.index(word) + 1) % len(VOCABULARY)]
            said = [[], [word, "uh"], [other], [other]][wrong]
            heard += said if difficulty < chance else [word]
        rows.append(
            {
                "cut": f"clips/common_voice_{cut:04d}.mp3",
                "reference": " ".join(words),
                "output": " ".join(heard),
                "score": float(draw.random()),
                "speaker": f"voice{cut % speakers:02d}",
                "snr": [20.0, 8.0, 0.0, None][cut % 4],
                "seconds": 0.4 * len(words) + 0.05 * (cut % 5),
            }
        )
    return rows


def write_recogniser(
    folder: Path,
    stage: str,
    rows: list[dict] | None = None,
    config: dict | None = None,
    results: dict | None = None,
) -> Path:
    """A finished run folder; by default of a recogniser as good as ``WRONG`` says."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = spoken(WRONG[stage]) if rows is None else rows
    texts = [row["reference"] for row in rows], [row["output"] for row in rows]
    rates = dict(zip(RATES, (jiwer.wer(*texts), jiwer.cer(*texts)), strict=True))
    large, steps = stage == "teacher", STEPS[stage]
    metrics = {
        "stage": stage,
        "network": "TransformerRecogniser" if large else "QuartzNet",
        "seed": 0,
        "params": 612_004 if large else 64_118,
        "macs": 90_400_000 if large else 12_800_000,
        "clip_seconds": 2.0,
        "size_bytes": 2_480_000 if large else 262_000,
        "latency_ms": {"p50": 21.3 if large else 4.74, "p95": 22.9 if large else 4.95},
        "real_time_factor": 0.0107 if large else 0.0024,
        "train_seconds": 283.2 if large else 98.1,
        "steps": steps,
        "metrics": rates,
        "intervals": {key: [rate - 0.02, rate + 0.02] for key, rate in rates.items()},
        "notes": [],
    }
    settings = {
        "task": "recognition",
        "name": folder.parent.name,
        "seed": 0,
        "classes": ["<blank>", " ", *"abcdefghijklmnopqrstuvwxyz'"],
        "overrides": [],
        "corpus": {
            "_target_": "kd_lightning.corpora.common_voice.CommonVoice",
            "root": None,
            "labelled_fraction": 1.0 if large else 0.25,
        },
    }
    (folder / "metrics.json").write_text(json.dumps(metrics | (results or {})))
    (folder / "config.json").write_text(json.dumps(settings | (config or {})))
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["step,key,value"]
    for step in range(50, steps + 1, 50):
        falling = np.exp(-5 * step / steps)
        lines.append(f"{step},train/loss,{3 * falling + 0.2:.5f}")
        lines.append(f"{step},train/ctc,{2 * falling + 0.1:.5f}")
        lines.append(f"{step},validation/wer,{rates['wer'] + 2 * falling:.4f}")
    (folder / "curves.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_pipeline(folder: Path) -> Path:
    """A pipeline of recognisers with all four stages and an export."""
    for stage in WRONG:
        write_recogniser(folder / stage, stage)
    (folder / "finetune" / "deploy").mkdir()
    export = {
        "format": "onnx",
        "precision": "int8",
        "file": "network_int8.onnx",
        "size_bytes": 90_300,
        "latency_ms": {"p50": 3.1, "p95": 3.4},
        "real_time_factor": 0.0016,
        "metrics": {"wer": 0.2135, "cer": 0.151},
        "intervals": {"wer": [0.19, 0.24]},
        "max_abs_difference": 0.21,
    }
    (folder / "finetune" / "deploy" / "onnx_int8.json").write_text(json.dumps(export))
    return folder
