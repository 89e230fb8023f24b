"""What distillation is worth on the embedded corpus, over seeds of students and teachers, with few labels and all.

Every arm is a student with the same initial weights, the same labelled cuts and the same views for its seed. Finished
arms are skipped, so the benchmark can be stopped, spread over processes and read at any time:

    python tests/benchmarks/quality.py train seeds=10 fraction=0.1 arms=main part=0/2   # one of two processes
    python tests/benchmarks/quality.py table
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from hydra import compose, initialize_config_dir

from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.metrics.intervals import Estimate, seeds_and_clusters

FOLDER = Path("runs/quality")
FRACTIONS = (0.1, 0.3, 1.0)
TEACHERS = 2


class Arm(NamedTuple):
    """One way to train the student.

    Attributes:
        stage: which stage's length and labels it takes.
        words: what differs from the experiment.
        start: the arm whose weights it starts from.
    """

    stage: str
    words: tuple[str, ...] = ()
    start: str | None = None


ARMS = {
    "baseline": Arm("baseline"),
    "distill": Arm("distill"),
    "finetune": Arm("finetune", start="distill"),
    "none, distill's steps": Arm("distill", ("transfer=none",)),
    "baseline, smoothed labels": Arm("baseline", ("distiller.terms.labels.loss.smoothing=0.1",)),
    "pseudo-labels": Arm("distill", ("transfer=hard_labels",)),
    "pseudo-labels, finetuned": Arm("finetune", start="pseudo-labels"),
}
GROUPS = {
    "main": ("baseline", "distill", "finetune", "none, distill's steps"),
    "controls": ("baseline, smoothed labels", "pseudo-labels", "pseudo-labels, finetuned"),
}
COMPARED = (
    ("finetune", "baseline"),
    ("distill", "none, distill's steps"),
    ("finetune", "baseline, smoothed labels"),
    ("finetune", "pseudo-labels, finetuned"),
)


def config(stage: str, folder: Path, *words: str) -> dict[str, Any]:
    every = ["logger=csv", "callbacks=none", "trainer.enable_progress_bar=false", f"folder={folder}", *words]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return stage_config(Request(compose("config", overrides=every)), stage)


def arm_folder(fraction: float, seed: int, arm: str) -> Path:
    return (
        FOLDER
        / f"labels{fraction:g}"
        / f"seed{seed}"
        / arm.replace(" ", "_").replace(",", "").replace("'", "")
    )


def plan(fraction: float, group: str, seeds: range) -> Iterator[dict[str, Any]]:
    """Configs in an order in which stopping early leaves whole seeds."""
    for seed in seeds:
        teacher = FOLDER / f"teacher{seed % TEACHERS}"
        yield config("teacher", teacher, f"seed={seed % TEACHERS}")
        for name in GROUPS[group]:
            arm = ARMS[name]
            words = [f"seed={seed}", f"corpus.labelled_fraction={fraction}", *arm.words]
            if arm.stage == "distill":
                words.append(f"teacher.run={teacher}")
            if arm.start is not None:
                words.append(f"student.run={arm_folder(fraction, seed, arm.start)}")
            yield config(arm.stage, arm_folder(fraction, seed, name), *words)


def train(seeds: str, fraction: str, arms: str, part: str) -> None:
    from kd_lightning.stages import run_stage

    first, parts = (int(word) for word in part.split("/"))
    for each in plan(float(fraction), arms, range(first, int(seeds), parts)):
        metrics = run_stage(each)
        print(
            each["folder"],
            round(metrics["metrics"]["accuracy"], 4),
            round(metrics["train_seconds"]),
            flush=True,
        )


def right(folder: Path) -> tuple[np.ndarray, list[str]] | None:
    """Whether each test cut was recognised, and its speaker; ``None`` for an arm that has not finished."""
    path = folder / "predictions.jsonl"
    if not (folder / "metrics.json").is_file():
        return None
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return np.array([line["reference"] == line["output"] for line in lines], float), [
        line["speaker"] for line in lines
    ]


def table() -> None:
    """Print the arms and the differences between them, in per cent of test cuts, with 95 % intervals."""
    for name, folder in ((f"teacher, seed {seed}", FOLDER / f"teacher{seed}") for seed in range(TEACHERS)):
        if (scored := right(folder)) is not None:
            print(f"{name}: {100 * scored[0].mean():.2f}")
    for fraction in FRACTIONS:
        scores: dict[str, dict[int, np.ndarray]] = {name: {} for name in ARMS}
        speakers: list[str] = []
        for name in ARMS:
            for seed in range(100):
                if (scored := right(arm_folder(fraction, seed, name))) is not None:
                    scores[name][seed], speakers = scored
        print(f"\n## labelled fraction {fraction:g}\n")
        print("| arm | seeds | accuracy % | sd over seeds |\n|---|---:|---:|---:|")
        for name, by_seed in scores.items():
            if len(by_seed) > 1:
                estimate = seeds_and_clusters(list(by_seed.values()), speakers)
                spread = 100 * np.std([score.mean() for score in by_seed.values()], ddof=1)
                print(f"| {name} | {len(by_seed)} | {shown(estimate)} | {spread:.2f} |")
        print("\n| difference | seeds | points | seeds won |\n|---|---:|---:|---:|")
        for one, other in COMPARED:
            common = sorted(scores[one].keys() & scores[other].keys())
            if len(common) > 1:
                ours, theirs = ([scores[arm][seed] for seed in common] for arm in (one, other))
                won = sum(a.mean() > b.mean() for a, b in zip(ours, theirs, strict=True))
                gain = shown(seeds_and_clusters(ours, speakers, theirs))
                print(f"| {one} - {other} | {len(common)} | {gain} | {won} |")


def shown(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.2f} [{100 * estimate.low:.2f}, {100 * estimate.high:.2f}]"


if __name__ == "__main__":
    task, *words = sys.argv[1:]
    if task == "train":
        train(**{"seeds": "10", "part": "0/1", **dict(word.split("=") for word in words)})
    else:
        table()
