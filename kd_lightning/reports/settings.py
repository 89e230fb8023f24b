"""The settings of a sweep: runs that differ only in their seed belong together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kd_lightning.metrics.intervals import Estimate, seed_difference, seed_mean, seeds_needed
from kd_lightning.reports.comparison import cost
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.runs import (
    UnreadableRun,
    number,
    numbers,
    read_mapping,
    read_results,
    text,
    texts,
    whole,
)

REFERENCE = "transfer=none"


@dataclass
class Setting:
    """The runs of one combination of overrides."""

    overrides: tuple[str, ...]
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    unfinished: list[str] = field(default_factory=list)

    def values(self, metric: str) -> dict[int, float]:
        """A metric by seed."""
        found = {seed: number(results, "metrics", metric) for seed, results in sorted(self.results.items())}
        return {seed: value for seed, value in found.items() if value is not None}


def compare_settings(folder: Path) -> dict[str, Any]:
    """Everything the report says of a sweep, as plain values for comparison.json.

    Args:
        folder: `multirun/<date>/<time>` with a sub-folder a job, 0, 1, 2, …, each a run folder.

    Raises:
        FileNotFoundError: when no job has finished; the message says what was looked for.
    """
    folder = Path(folder)
    settings, config, notes = read_settings(folder)
    task = task_of(text(config, "task"))
    metric = task.metric
    finished = [setting for setting in settings if setting.values(metric)]
    if not finished:
        raise FileNotFoundError(
            f"{folder}: no finished run. Looked for <number>/config.json and <number>/metrics.json with "
            f"metrics.{metric}. {' '.join(notes)}".strip()
        )
    common = (
        set.intersection(*(set(setting.overrides) for setting in settings)) if len(settings) > 1 else set()
    )
    arms = {setting.overrides: setting for setting in finished}
    rows = [_row(setting, common, arms, metric) for setting in settings]
    deviation = _deviation([setting.values(metric) for setting in finished])
    return {
        "name": folder.name,
        "task": text(config, "task"),
        "corpus": {
            "name": (text(config, "corpus", "_target_") or "").rsplit(".", 1)[-1] or None,
            "labelled_fraction": number(config, "corpus", "labelled_fraction"),
        },
        "metric": metric,
        "common": [override for override in settings[0].overrides if override in common],
        "rows": rows,
        "seed_deviation": deviation,
        "seeds_for_one_point": seeds_needed(task.main.worth, np.sqrt(2) * deviation) if deviation else None,
        "notes": notes,
    }


def read_settings(folder: Path) -> tuple[list[Setting], dict[str, Any], list[str]]:
    """The settings of a sweep in the order of their jobs, one config, and notes on what is missing."""
    settings: dict[tuple[str, ...], Setting] = {}
    notes: list[str] = []
    shown: dict[str, Any] = {}
    for job in _jobs(folder):
        try:
            config = read_mapping(job / "config.json")
        except UnreadableRun as error:
            notes.append(f"Job {job.name} belongs to no setting: {error}")
            continue
        shown = shown or config
        overrides = texts(config.get("overrides"))
        key = tuple(override for override in overrides if not override.startswith("seed="))
        setting = settings.setdefault(key, Setting(key))
        seed = _seed(overrides, config)
        try:
            results = read_results(job)
        except UnreadableRun as error:
            setting.unfinished.append(job.name)
            notes.append(f"Job {job.name} ({' '.join(overrides)}) is left out: {error}")
            continue
        if seed in setting.results:
            notes.append(f"Job {job.name} repeats seed {seed} of {' '.join(key)}: the first is used.")
            continue
        setting.results[seed] = results
    return list(settings.values()), shown, notes


def _jobs(folder: Path) -> Iterable[Path]:
    jobs = (
        [path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]
        if folder.is_dir()
        else []
    )
    return sorted(jobs, key=lambda path: int(path.name))


def _seed(overrides: list[str], config: dict[str, Any]) -> int:
    given = [override.removeprefix("seed=") for override in overrides if override.startswith("seed=")]
    if given and given[-1].lstrip("-").isdecimal():
        return int(given[-1])
    return whole(config, "seed") or 0


def _row(
    setting: Setting, common: set[str], arms: dict[tuple[str, ...], Setting], metric: str
) -> dict[str, Any]:
    values = setting.values(metric)
    sample = next(iter(setting.results.values()), {})
    keys = sorted({key for results in setting.results.values() for key in numbers(results.get("metrics"))})
    means = {key: seed_mean(list(setting.values(key).values())) for key in keys}
    own = [override for override in setting.overrides if override not in common]
    return {
        "setting": " ".join(own) or "defaults",
        "overrides": list(setting.overrides),
        "is_reference": REFERENCE in setting.overrides,
        "seeds": list(values),
        "values": list(values.values()),
        "metrics": {key: mean.value for key, mean in means.items()},
        "intervals": {key: [mean.low, mean.high] for key, mean in means.items()},
        "deviation": float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None,
        "difference": _difference(setting, arms, metric),
        "unfinished": setting.unfinished,
        "params": whole(sample, "params"),
        "macs": whole(sample, "macs"),
        **cost(sample),
    }


def _difference(setting: Setting, arms: dict[tuple[str, ...], Setting], metric: str) -> dict[str, Any] | None:
    """The difference to the same setting without transfer: paired when the seeds are equal, else Welch."""
    key = tuple(REFERENCE if override.startswith("transfer=") else override for override in setting.overrides)
    reference = arms.get(key)
    if reference is None or key == setting.overrides or not setting.values(metric):
        return None
    ours, theirs = setting.values(metric), reference.values(metric)
    paired = list(ours) == list(theirs)
    found: Estimate = seed_difference(list(ours.values()), list(theirs.values()), paired)
    return {
        "reference": REFERENCE,
        "value": found.value,
        "interval": [found.low, found.high],
        "excludes_zero": bool(found.excludes_zero),
        "method": "paired t" if paired else "Welch t",
    }


def _deviation(arms: list[dict[int, float]]) -> float | None:
    """Standard deviation over seeds, pooled over the settings that have several."""
    groups = [np.array(list(values.values())) for values in arms]
    groups = [group for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in groups)
    if not freedom:
        return None
    return float(np.sqrt(sum(((group - group.mean()) ** 2).sum() for group in groups) / freedom))
