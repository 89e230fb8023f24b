"""The settings of a sweep: runs that differ only in their seed belong together.

Numbers over different test sets never meet: runs of another task, corpus or test set are a group of their own.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kd_lightning.metrics.intervals import (
    Estimate,
    seed_difference,
    seed_mean,
    seeds_and_clusters,
    seeds_needed,
)
from kd_lightning.metrics.scores import FEWEST_SPEAKERS
from kd_lightning.reports.comparison import cost
from kd_lightning.reports.jobs import HEARD_BY, Job, LeftOut, by_value, latencies, network, read_jobs
from kd_lightning.reports.keys import explained
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.pareto import add_fronts
from kd_lightning.reports.runs import number, numbers, text, whole
from kd_lightning.reports.task import Task

REFERENCE = "transfer=none"
# Keys of who teaches, and how: a run without transfer looks at none of them.
OF_TEACHING = ("transfer", "teacher", "taught_by", "assistant", "copy", "labels")


@dataclass
class Setting:
    """The runs of one combination of words."""

    words: tuple[str, ...]
    jobs: dict[int, Job] = field(default_factory=dict)  # by seed
    left_out: list[LeftOut] = field(default_factory=list)

    def values(self, metric: str, of: Literal["metrics", "validation"] = "metrics") -> dict[int, float]:
        """A metric by seed, of the test set or of validation."""
        found = {seed: number(job.results, of, metric) for seed, job in sorted(self.jobs.items())}
        return {seed: value for seed, value in found.items() if value is not None}


def compare_settings(folder: Path) -> dict[str, Any]:
    """Everything the report says of a sweep, as plain values for comparison.json.

    Args:
        folder: `multirun/<name>` with a sub-folder a job, each a run folder, whatever their names.

    Returns:
        Of the test set that most runs share; those of other test sets stand, in the same form, under ``others``.
        The settings are in the order of their words or, where all runs were validated, the best on validation first.

    Raises:
        FileNotFoundError: when no job has finished; the message says what was looked for, and what was found.
    """
    return compare_jobs(Path(folder).name, *finished_jobs(folder))


def finished_jobs(folder: Path) -> tuple[list[Job], list[LeftOut]]:
    """The finished runs of a sweep, and what is left out.

    Raises:
        FileNotFoundError: when no job has finished; the message says what was looked for, and what was found.
    """
    folder = Path(folder)
    if (folder / "config.json").is_file():
        raise FileNotFoundError(f"{folder} is a single run: name the folder that it lies in, {folder.parent}")
    jobs, left_out = read_jobs(folder)
    if not jobs:
        found = "; ".join(f"{one.name}: {one.kind}, {one.reason}" for one in left_out[:8])
        more = f"; and {len(left_out) - 8} more" if len(left_out) > 8 else ""
        raise FileNotFoundError(
            f"{folder}: no finished run. Looked for <job>/config.json, metrics.json and predictions.jsonl. "
            f"Found {found + more if found else 'no folder of a job'}."
        )
    return jobs, left_out


def compare_jobs(name: str, jobs: Sequence[Job], left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """As `compare_settings`, of runs that are read already."""
    tests: dict[str, list[Job]] = {}
    for job in jobs:
        tests.setdefault(job.test, []).append(job)
    main, *rest = sorted(tests.values(), key=len, reverse=True)
    others = [_compare(group, []) | {"differs": _differences(main[0], group[0])} for group in rest]
    return {
        "name": name,
        **_compare(main, left_out),
        "jobs": len(jobs) + len(left_out),
        "left_out": [asdict(one) for one in left_out],
        "others": others,
    }


def _compare(jobs: Sequence[Job], left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """The settings of runs that were tested alike."""
    notes: list[str] = []
    settings = _settings(jobs, left_out, notes)
    config = jobs[0].config
    task = task_of(text(config, "task"))
    metric = task.metric
    finished = [setting for setting in settings if setting.jobs]
    common = set.intersection(*(set(setting.words) for setting in settings)) if len(settings) > 1 else set()
    measured = latencies(jobs)
    rows = [_row(setting, common, finished, measured, task) for setting in settings]
    add_fronts(rows, task.metric, task.lower_is_better)
    validated = all(row["validation"] is not None for row in rows if row["seeds"])
    if validated:
        rows.sort(key=lambda row: _rank(row["validation"], task))
    deviation = _deviation([setting.values(metric) for setting in finished])
    return {
        "task": text(config, "task"),
        "corpus": {
            "name": (text(config, "corpus", "_target_") or "").rsplit(".", 1)[-1] or None,
            "labelled_fraction": _shared([number(job.config, "corpus", "labelled_fraction") for job in jobs]),
            "test_cuts": len(jobs[0].speakers),
            "test_speakers": len(set(jobs[0].speakers)),
        },
        "metric": metric,
        "validated": validated,
        "common": [word for word in settings[0].words if word in common],
        "rows": rows,
        "importance": explained([(setting.words, setting.jobs) for setting in finished], task),
        "seed_deviation": deviation,
        "seeds_for_one_point": None
        if deviation is None
        else seeds_needed(task.main.worth, np.sqrt(2) * deviation),
        "notes": notes,
    }


def _shared(values: Sequence[float | None]) -> float | None:
    """What all runs have, None where they differ."""
    return values[0] if len(set(values)) == 1 else None


def _rank(validation: float | None, task: Task[Any]) -> float:
    """The best first, and last what has not finished."""
    if validation is None:
        return np.inf
    return validation if task.lower_is_better else -validation


def _settings(jobs: Sequence[Job], left_out: Sequence[LeftOut], notes: list[str]) -> list[Setting]:
    """The settings in the order of their words; what is left out has its place where its words are known."""
    settings: dict[frozenset[str], Setting] = {}
    every: list[Job | LeftOut] = [*jobs, *left_out]
    for one in sorted(every, key=lambda one: by_value(one.name)):
        if one.words is None:
            continue
        setting = settings.setdefault(frozenset(one.words), Setting(one.words))
        if isinstance(one, LeftOut):
            setting.left_out.append(one)
        elif one.seed in setting.jobs:
            notes.append(f"{one.name} repeats seed {one.seed} of {' '.join(one.words)}: the first is used.")
        else:
            setting.jobs[one.seed] = one
    return list(settings.values())


def _row(
    setting: Setting, common: set[str], arms: Sequence[Setting], measured: dict[Any, Any], task: Task[Any]
) -> dict[str, Any]:
    values, validated = setting.values(task.metric), setting.values(task.metric, "validation")
    if validated.keys() != values.keys():
        validated = {}
    jobs = [setting.jobs[seed] for seed in values]
    sample = jobs[0].results if jobs else {}
    keys = sorted({key for job in jobs for key in numbers(job.results.get("metrics"))})
    means = {key: seed_mean(list(setting.values(key).values())) for key in keys}
    own = [word for word in setting.words if word not in common]
    return {
        "setting": " ".join(own) or "defaults",
        "overrides": list(setting.words),
        "is_reference": REFERENCE in setting.words,
        "seeds": list(values),
        "values": list(values.values()),
        "validation": seed_mean(list(validated.values())).value if validated else None,
        "metrics": {key: mean.value for key, mean in means.items()},
        "intervals": {key: [mean.low, mean.high] for key, mean in means.items()},
        "over_speakers": _over_speakers(jobs),
        "deviation": float(np.std(list(values.values()), ddof=1)) if len(values) > 1 else None,
        "difference": _difference(setting, arms, task.metric),
        "unfinished": [one.name for one in setting.left_out],
        "network": text(sample, "network"),
        "params": whole(sample, "params"),
        "macs": whole(sample, "macs"),
        **cost(sample),
        **({"latency_ms": measured[network(jobs[0])]} if jobs else {}),
    }


def _over_speakers(jobs: Sequence[Job], others: Sequence[Job] = ()) -> list[float] | None:
    """The interval when both seeds and test speakers vary, of a mean or of the difference to others."""
    if not jobs:
        return None
    counts = np.stack([job.counts for job in (*jobs, *others)])
    same = (counts[:, :, 1] == counts[0, :, 1]).all(axis=0)  # a cut that one network could not be scored on
    if not counts[0, same, 1].sum():
        return None
    speakers = jobs[0].speakers[same]
    if len(set(speakers)) < FEWEST_SPEAKERS:
        speakers = np.arange(len(speakers))
    ours, theirs = counts[: len(jobs), same, 0], counts[len(jobs) :, same, 0]
    found = seeds_and_clusters(
        list(ours), speakers, list(theirs) if others else None, counts=counts[0, same, 1]
    )
    return [found.low, found.high]


def _reference(setting: Setting, arms: Sequence[Setting]) -> Setting | None:
    """The same without transfer: every other word equal, or every word that does not speak of teaching."""
    if REFERENCE in setting.words:
        return None
    exact = {REFERENCE if word.startswith("transfer=") else word for word in setting.words}
    found = [arm for arm in arms if REFERENCE in arm.words]
    alike = [arm for arm in found if _without_teaching(arm) == _without_teaching(setting)]
    return next((arm for arm in found if set(arm.words) == exact), alike[0] if alike else None)


def _without_teaching(setting: Setting) -> set[str]:
    keys = tuple(f"{key}{end}" for key in OF_TEACHING for end in "=.")
    return {word for word in setting.words if not word.lstrip("+~").startswith(keys)}


def _difference(setting: Setting, arms: Sequence[Setting], metric: str) -> dict[str, Any] | None:
    """The difference to the same setting without transfer: paired when the seeds are equal, else Welch."""
    reference = _reference(setting, arms)
    if reference is None or not setting.values(metric):
        return None
    ours, theirs = setting.values(metric), reference.values(metric)
    paired = list(ours) == list(theirs)
    found: Estimate = seed_difference(list(ours.values()), list(theirs.values()), paired)
    return {
        "reference": REFERENCE,
        "value": found.value,
        "interval": [found.low, found.high],
        "over_speakers": _over_speakers(list(setting.jobs.values()), list(reference.jobs.values())),
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


def _differences(one: Job, other: Job) -> list[str]:
    """What sets the tests of two groups apart, as far as their configs and results tell: ``key: here -> there``."""
    told = []
    for key, (here, there) in {
        "task": (one.config.get("task"), other.config.get("task")),
        **{
            f"corpus.{key}": (one.config["corpus"].get(key), other.config["corpus"].get(key))
            for key in sorted({*one.config["corpus"], *other.config["corpus"]})
        },
        **{key: (text(one.results, key), text(other.results, key)) for key in HEARD_BY},
        "test cuts": (len(one.speakers), len(other.speakers)),
    }.items():
        if here != there:
            told.append(f"{key}: {here} -> {there}")
    return told
