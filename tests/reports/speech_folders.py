"""Synthetic folders of networks that speak, in the format that finished stages write."""

import json
from pathlib import Path

import numpy as np
import soundfile as sf

from kd_lightning.files import safe_name

RATE, HOP, BINS = 16000, 200, 80
# Mean distortion of each stage, dB.
DISTORTION = {"teacher": 5.0, "baseline": 7.0, "distill": 6.2, "finetune": 6.0}
STEPS = {"teacher": 2000, "baseline": 1500, "distill": 1100, "finetune": 400}
TEXTS = ["the boat finds a river", "seven white horses", "bring the letter to the door"]


def said(stage: str, task: str = "synthesis", cuts: int = 40, speakers: int = 1) -> list[dict]:
    """Cuts with what was measured of them; one draw decides for every stage, so better networks nest."""
    rows = []
    for cut in range(cuts):
        draw = np.random.default_rng(cut)
        own = np.random.default_rng([cut, *stage.encode()])
        mcd = DISTORTION[stage] + draw.normal(0, 0.5) + own.normal(0, 0.3)
        metrics = {"mcd": mcd, "f0_rmse": 4 * mcd + draw.normal(), "voicing_error": 0.02 * mcd}
        if task == "synthesis":
            metrics |= {"duration_error": 5 * mcd, "round_trip_cer": 0.03 * mcd}
            if stage == "teacher":
                metrics |= {
                    "focus_rate": 0.93,
                    "skipped": float(cut < 3),
                    "repeated": float(2 * (cut < 2)),
                    "ended": 1.0,
                }
        else:
            metrics |= {"stft_distance": 0.2 * mcd, "stoi": 1 - 0.02 * mcd}
        rows.append(
            {
                "cut": f"19/198/19_198_{cut:06d}",
                "reference": TEXTS[cut % len(TEXTS)],
                "output": TEXTS[(cut + 1) % len(TEXTS)] if task == "synthesis" else "",
                "score": mcd,
                "speaker": f"voice{cut % speakers:02d}",
                "snr": None,
                "seconds": 1.0 + 0.1 * (cut % 10),
                "metrics": metrics,
            }
        )
    return rows


def tone(hertz: float, seconds: float = 0.2) -> np.ndarray:
    """A quiet tone, (T,)."""
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)


def spectrogram(seed: int, frames: int = 60) -> np.ndarray:
    """A mel of a few bands that move, (BINS, frames) float32."""
    draw = np.random.default_rng(seed)
    place = 20 + 12 * np.sin(np.arange(frames) / 8 + seed)
    bands = np.exp(-(((np.arange(BINS)[:, None] - place) / 4) ** 2))
    return (-11 + 10 * bands + draw.normal(0, 0.3, (BINS, frames))).astype(np.float32)


def diagonal(steps: int = 15, tokens: int = 12) -> np.ndarray:
    """Attention that goes through the tokens, (steps, tokens) float32."""
    centre = np.arange(steps)[:, None] * tokens / steps
    weights = np.exp(-((np.arange(tokens) - centre) ** 2))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def write_speech(folder: Path, cut: str, seed: int, attended: bool = False) -> None:
    """Audio and spectrograms of one cut in a run's folder."""
    for kept in ("audio", "spectrograms"):
        (folder / kept).mkdir(exist_ok=True)
    name = safe_name(cut)
    sf.write(folder / "audio" / f"{name}.flac", tone(200 + 10 * seed), RATE)
    sf.write(folder / "audio" / f"{name}.reference.flac", tone(200), RATE)
    arrays = {"attention": diagonal()} if attended else {}
    np.savez_compressed(
        folder / "spectrograms" / f"{name}.npz",
        mel=spectrogram(seed, 60 - seed),
        reference_mel=spectrogram(0),
        hop_seconds=HOP / RATE,
        **arrays,
    )


def write_speaker(
    folder: Path,
    stage: str,
    task: str = "synthesis",
    rows: list[dict] | None = None,
    config: dict | None = None,
    results: dict | None = None,
    heard: int = 2,
) -> Path:
    """A finished run folder; by default of a network as good as ``DISTORTION`` says."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = said(stage, task) if rows is None else rows
    keys = sorted({key for row in rows for key in row["metrics"]})
    means = {
        key: float(np.mean([row["metrics"][key] for row in rows if key in row["metrics"]])) for key in keys
    }
    large, steps = stage == "teacher", STEPS[stage]
    names = {"synthesis": ("Tacotron2", "FeedForward"), "vocoding": ("Vocos", "Vocos")}[task]
    metrics = {
        "stage": stage,
        "network": names[0] if large else names[1],
        "seed": 0,
        "params": 1_012_004 if large else 204_118,
        "macs": 180_000_000 if large else 24_000_000,
        "clip_seconds": 2.0,
        "size_bytes": 4_080_000 if large else 822_000,
        "latency_ms": {"p50": 120.3 if large else 6.74, "p95": 130.9 if large else 6.95},
        "real_time_factor": 0.06 if large else 0.0034,
        "train_seconds": 283.2 if large else 98.1,
        "steps": steps,
        "metrics": means,
        "intervals": {key: [mean - 0.1, mean + 0.1] for key, mean in means.items()},
        "notes": [],
    }
    settings = {
        "task": task,
        "name": folder.parent.name,
        "seed": 0,
        "classes": ["<blank>", *"abcdefghijklmnopqrstuvwxyz'"] if task == "synthesis" else [],
        "overrides": [],
        "corpus": {
            "_target_": "kd_lightning.corpora.synthesis.SpokenSentences",
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
        lines.append(f"{step},train/mel_l1,{2 * falling + 0.1:.5f}")
        lines.append(f"{step},validation/mcd,{means.get('mcd', 9.0) + 6 * falling:.4f}")
    (folder / "curves.csv").write_text("\n".join(lines) + "\n")
    for row in rows[:heard]:
        write_speech(folder, row["cut"], list(STEPS).index(stage) + 1, task == "synthesis" and large)
    return folder


def write_pipeline(folder: Path, task: str = "synthesis", heard: int = 2) -> Path:
    """A pipeline with all four stages and an export."""
    for stage in STEPS:
        write_speaker(folder / stage, stage, task, heard=heard)
    (folder / "finetune" / "deploy").mkdir()
    export = {
        "format": "onnx",
        "precision": "fp32",
        "file": "network_fp32.onnx",
        "size_bytes": 790_300,
        "latency_ms": {"p50": 3.1, "p95": 3.4},
        "real_time_factor": 0.0016,
        "metrics": {"mcd": 6.0312},
        "intervals": {"mcd": [5.87, 6.19]},
        "max_abs_difference": 2e-5,
    }
    (folder / "finetune" / "deploy" / "onnx_fp32.json").write_text(json.dumps(export))
    return folder
