"""Short distillation runs that rank students: same teacher, seed and batches, and validation clips alone."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from kd_lightning.budget.candidates import Candidate
from kd_lightning.budget.halving import rounds
from kd_lightning.files import safe_name, write
from kd_lightning.metrics.scores import LOWER_IS_BETTER
from kd_lightning.stages import build_recorded, fit, rank, run_folder

log = logging.getLogger("kd_lightning")

RESULT = "proxy.json"
# In fewer steps many a network has not left chance.
FEWEST_STEPS = 100


class Proxy(NamedTuple):
    """What a short run came to.

    Attributes:
        monitor: key of the validation metric.
        score: the best that was validated.
        steps: optimizer steps.
        seconds: of training.
    """

    monitor: str
    score: float
    steps: int
    seconds: float


def rank_by_proxies(
    candidates: Sequence[Candidate],
    distill: Callable[[Candidate], dict[str, Any]],
    folder: Path,
    longest: int,
) -> list[Candidate]:
    """Rank students by short runs, in rounds of which only the better half enters the next one.

    Args:
        candidates: those that fit; scores, ranks and reasons are written into them.
        distill: the config of a candidate's distillation.
        folder: of the short runs.
        longest: epochs of the last round.

    Returns:
        the candidates, best first.

    Raises:
        ValueError: no run came to a score.
    """
    left = list(candidates)
    for students, epochs in rounds(len(left), longest):
        # Those that were left out before stay behind those that went on.
        left, out = left[:students], left[students:]
        for place, candidate in enumerate(left, start=1):
            log.info("short run %d of %d, epochs=%d: %s", place, len(left), epochs, candidate.name)
            config = shortened(distill(candidate), folder / safe_name(candidate.name), epochs)
            try:
                proxy = run_proxy(config)
            except (ValueError, FloatingPointError, torch.OutOfMemoryError) as error:
                candidate.reasons = [f"failed in its short run: {str(error).partition(chr(10))[0]}"]
                continue
            candidate.scores[epochs] = proxy.score
            candidate.steps[epochs] = proxy.steps
            monitor = proxy.monitor
        left = [candidate for candidate in left if not candidate.reasons]
        if not left:
            raise ValueError(f"no student came through its short run: {candidates[0].reasons[0]}")
        sign = 1 if monitor.rpartition("/")[2] in LOWER_IS_BETTER else -1
        if (steps := max(candidate.steps[epochs] for candidate in left)) < FEWEST_STEPS:
            log.warning(
                "short runs of %d steps rank students by how they begin: raise proxy, or train for more epochs",
                steps,
            )
        left.sort(key=lambda candidate: sign * candidate.scores[epochs])
        left += out
    for place, candidate in enumerate(left, start=1):
        candidate.rank = place
    return left


def shortened(config: dict[str, Any], folder: Path, epochs: int) -> dict[str, Any]:
    """A stage of so few epochs in a folder of its own; nobody watches it."""
    trainer = config["trainer"] | {"max_epochs": epochs}
    return config | {"trainer": trainer, "folder": str(folder / f"{epochs}_epochs"), "logger": {}}


def run_proxy(config: dict[str, Any]) -> Proxy:
    """Train a stage without testing it, or go on, or find it done.

    Args:
        config: of :func:`shortened`.

    Raises:
        FileExistsError: the folder holds a run with another config, or of another teacher.
        ValueError: the student does not fit the recipe.
        FloatingPointError: the loss is not finite.
        OSError: another process is training here, or the disk is full.
    """
    folder = Path(config["folder"])
    with run_folder(config) as config:
        if (folder / RESULT).is_file():
            return Proxy(**json.loads((folder / RESULT).read_text()))
        experiment = build_recorded(config)
        fit(experiment, folder)
        assert experiment.best.score is not None  # the weights that a stage starts from are validated
        proxy = Proxy(
            config["monitor"],
            experiment.best.score,
            experiment.trainer.global_step,
            experiment.timer.time_elapsed("train"),
        )
        experiment.trainer.strategy.barrier()
        if rank() == 0:
            write(folder / RESULT, json.dumps(proxy._asdict(), indent=2) + "\n")
            shutil.rmtree(folder / "checkpoints")  # the student that is chosen is trained anew
        experiment.trainer.strategy.barrier()
    return proxy
