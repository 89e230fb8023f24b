"""The jobs of a sweep's folder: what has finished, and why the rest is left out."""

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from kd_lightning.metrics.word_errors import Edits
from kd_lightning.reports.aligned import align
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.runs import (
    Predictions,
    UnreadableRun,
    number,
    read_mapping,
    read_predictions,
    read_results,
    text,
    texts,
    whole,
)

# What a network that speaks is scored by, beside the test set.
HEARD_BY = ("vocoder", "recogniser")
ENDED = "the stage ended"


@dataclass(frozen=True)
class Job:
    """A finished run of a sweep.

    Attributes:
        name: of its folder.
        words: that it was started with, without the seed's; with its stage's, where the sweep has several.
        stage: of the config.
        seed: of the run.
        config: config.json.
        results: metrics.json.
        counts: (N, 2) of each test cut, by id: the metric is the sum of the first over the sum of the second.
        speakers: (N,) of each test cut.
        test: fingerprint of what it was tested on, and by what.
    """

    name: str
    words: tuple[str, ...]
    stage: str | None
    seed: int
    config: dict[str, Any]
    results: dict[str, Any]
    counts: NDArray[np.float64]
    speakers: NDArray[np.object_]
    test: str


@dataclass(frozen=True)
class LeftOut:
    """A folder without results to report.

    Attributes:
        name: of the folder.
        kind: ``failed`` with an error; ``unfinished``: cut off, or still running; ``damaged``: finished, but a file
            cannot be read; ``foreign``: no run of ours.
        reason: what is wrong.
        words: as of a `Job`; None where nobody knows.
        stage: of the config; None where nobody knows.
        trial: of a wandb sweep, whose agents start no trial again.
    """

    name: str
    kind: Literal["failed", "unfinished", "damaged", "foreign"]
    reason: str
    words: tuple[str, ...] | None = None
    stage: str | None = None
    trial: bool = False


def read_jobs(folder: Path) -> tuple[list[Job], list[LeftOut]]:
    """Every job of a sweep's folder, in the order of names, numbers by their value."""
    places = _folders(folder)
    trials = any(map(_is_trial, places))
    found = [_read(place, trials) for place in places]
    if len({one.stage for one in found if one.stage}) > 1:
        found = [_with_stage(one) for one in found]
    left_out = [replace(one, trial=trials) for one in found if isinstance(one, LeftOut)]
    return [one for one in found if isinstance(one, Job)], left_out


def _with_stage(one: Job | LeftOut) -> Job | LeftOut:
    """Its stage among its words: the stages of a pipeline record the same ones."""
    if one.stage is None or one.words is None or any(word.startswith("stage=") for word in one.words):
        return one
    return replace(one, words=(*one.words, f"stage={one.stage}"))


def _is_trial(place: Path) -> bool:
    """Whether an agent of a wandb sweep has started it: its folder is named by the run that the agent prepared."""
    try:
        return (place / ".wandb_id").read_text(encoding="utf-8").strip() == place.name
    except (OSError, UnicodeDecodeError):
        return False


def _folders(folder: Path) -> list[Path]:
    places = [path for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    own = [path for path in places if path.name != "report" and not path.name.startswith(".")]
    return sorted(own, key=lambda path: by_value(path.name))


def by_value(name: str) -> list[tuple[int, float, str]]:
    """Sorts ``seed=9`` before ``seed=10``."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(1, float(part), "") if place % 2 else (0, 0.0, part) for place, part in enumerate(parts)]


def _read(place: Path, trial: bool) -> Job | LeftOut:
    log = place / "train.log"
    if not (place / "config.json").is_file():
        if log.is_file():
            return _cut_off(place, trial, None, None)
        if all(path.name.startswith(".") for path in place.iterdir()):  # as Hydra makes it
            return LeftOut(place.name, "unfinished", "ended before its log began, see the terminal")
        return LeftOut(place.name, "foreign", "no config.json and no train.log: not a run")
    try:
        config = read_mapping(place / "config.json")
    except UnreadableRun as error:
        return LeftOut(place.name, "damaged", str(error))
    if not isinstance(config.get("corpus"), dict) or whole(config, "seed") is None:
        return LeftOut(place.name, "foreign", "its config.json has no corpus or no seed: not a run of ours")
    overrides = texts(config.get("overrides"))
    words, stage = tuple(word for word in overrides if not word.startswith("seed=")), text(config, "stage")
    if not (place / "metrics.json").is_file():
        return _cut_off(place, trial, words, stage)
    task = task_of(text(config, "task"))
    try:
        results = read_results(place)
        if number(results, "metrics", task.metric) is None:
            raise UnreadableRun(f"{place.name}/metrics.json has no {task.metric}")
        predictions = read_predictions(place / "predictions.jsonl")
    except UnreadableRun as error:
        return LeftOut(place.name, "damaged", str(error), words, stage)
    said = align({"": predictions})
    # Names of speakers are kept once, not once a run.
    speakers = np.array([sys.intern(name) for name in said.speakers], dtype=object)
    return Job(
        place.name,
        words,
        stage,
        _seed(overrides, config),
        config,
        results,
        _counts(task.outcomes(said, "")),
        speakers,
        _tested_on(predictions, config, results),
    )


def _counts(outcomes: Any) -> NDArray[np.float64]:
    """(N, 2): what is summed over cuts, of a metric that is a mean over cuts or a rate of errors."""
    if isinstance(outcomes, np.ndarray):
        known = np.isfinite(outcomes.astype(np.float64))
        return np.column_stack([np.where(known, outcomes, 0.0), known]).astype(np.float64)
    edits: list[Edits] = outcomes
    return np.array([(one.errors, one.reference) for one in edits], dtype=np.float64)


def _cut_off(place: Path, trial: bool, words: tuple[str, ...] | None, stage: str | None) -> LeftOut:
    """Failed, where the log ends with an error; else cut off, or still running."""
    error = _last_error(place / "train.log")
    stopped = error is not None and error.startswith(("KeyboardInterrupt", "SystemExit"))
    if error is not None and not stopped:
        return LeftOut(place.name, "failed", error, words, stage)
    at = "in training" if (place / "checkpoints" / "last.ckpt").is_file() else "before its first checkpoint"
    if not trial:
        reason = f"cut off {at}, or still running: the sweep's command goes on with it"
    elif stopped:
        reason = f"stopped {at}, by the search or by hand: its agent goes on with other trials"
    else:
        reason = f"cut off {at}, or still running: no agent starts it again"
    return LeftOut(place.name, "unfinished", reason, words, stage)


def _last_error(log: Path) -> str | None:
    """The last line of the trace that ends the log, None where it does not end with one."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    records = [place for place, line in enumerate(lines) if re.match(r"\d{4}-\d\d-\d\d \d\d:", line)]
    if not records or ENDED not in lines[records[-1]]:
        return None
    # A message of several lines begins where the trace's indented lines end.
    trace = lines[records[-1] + 1 :]
    told = [line for line in trace if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    return told[-1] if told else lines[records[-1]]


def _seed(overrides: list[str], config: dict[str, Any]) -> int:
    given = [word.removeprefix("seed=") for word in overrides if word.startswith("seed=")]
    if given and given[-1].lstrip("-").isdecimal():
        return int(given[-1])
    return whole(config, "seed") or 0


def _tested_on(predictions: Predictions, config: dict[str, Any], results: dict[str, Any]) -> str:
    """The same for runs whose metrics compare.

    That is task, cuts with what was said and their noise, where their audio is from, and what heard them.
    """
    order = np.argsort(predictions.cuts)
    cuts = [predictions.cuts[order], predictions.references[order], predictions.snr[order].astype(str)]
    heard = [text(results, role) for role in HEARD_BY]
    facts = [text(config, "task"), heard, _recorded(config), *(column.tolist() for column in cuts)]
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _recorded(config: dict[str, Any]) -> list[Any]:
    """Where the audio of the corpus, and of a corpus within it, is from: equal cut ids may name other recordings."""
    corpora: list[Mapping[str, Any]] = [config["corpus"]]
    for corpus in corpora:
        corpora += [part for part in corpus.values() if isinstance(part, Mapping) and "root" in part]
    # Published, of one's own, or spoken by a machine, which by other settings speaks otherwise.
    return [
        (one.get("_target_"), one.get("root") or one.get("download") or one.get("synthetic"))
        for one in corpora
    ]


def network(job: Job) -> tuple[Any, ...]:
    """Equal for equal networks: they cost the same."""
    return text(job.results, "network"), *(
        whole(job.results, key) for key in ("params", "macs", "size_bytes")
    )


def latencies(jobs: Sequence[Job]) -> dict[tuple[Any, ...], dict[str, float | None]]:
    """Median latency of each network over all runs that have it: what differs between them is the machine's load."""
    networks: dict[tuple[Any, ...], list[Job]] = {}
    for job in jobs:
        networks.setdefault(network(job), []).append(job)
    return {
        one: {key: _median(number(job.results, "latency_ms", key) for job in runs) for key in ("p50", "p95")}
        for one, runs in networks.items()
    }


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
