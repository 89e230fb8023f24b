"""The swept keys of a sweep, their values in each run, and what each of them explains."""

from collections.abc import Mapping, Sequence
from typing import Any

from kd_lightning.reports.importance import as_number, importance
from kd_lightning.reports.jobs import Job
from kd_lightning.reports.runs import number
from kd_lightning.reports.task import Task

NOT_SET = "not set"
Settings = Sequence[tuple[tuple[str, ...], Mapping[int, Job]]]


def explained(settings: Settings, task: Task[Any]) -> dict[str, Any] | None:
    """What each swept key explains of the task's metric, as plain values for comparison.json.

    Of the metric on validation, where choices are made, if all runs have it; else on the test set.

    Args:
        settings: words and finished jobs by seed of each setting.
        task: of the sweep.

    Returns:
        None where nothing was swept but seeds, or every run has the same metric.
    """
    keys = list(dict.fromkeys(_key(word) for words, _ in settings for word in words))
    runs = [job for _, jobs in settings for job in jobs.values()]
    validated = all(number(job.results, "validation", task.metric) is not None for job in runs)
    values: list[float] = []
    place: list[int] = []
    factors: dict[str, list[str]] = {key: [] for key in keys}
    for index, (words, jobs) in enumerate(settings):
        told = {_key(word): word.partition("=")[2] for word in words}
        for job in jobs.values():
            value = number(job.results, "validation" if validated else "metrics", task.metric)
            if value is None:
                continue
            values.append(value)
            place.append(index)
            for key in keys:
                factors[key].append(_same(told[key] if key in told else _configured(job.config, key)))
    found = importance(values, factors, place, task.lower_is_better) if values else None
    if found is None:
        return None
    shown = [one._asdict() | {"matters": one.matters, "along": list(one.along)} for one in found.keys]
    return found._asdict() | {"keys": shown, "of": "validation" if validated else "test"}


def _key(word: str) -> str:
    return word.lstrip("+").partition("=")[0]


def _configured(config: Mapping[str, Any], key: str) -> str:
    """The value that a run has without being told."""
    holder: Any = config
    for part in key.split("."):
        holder = holder.get(part) if isinstance(holder, Mapping) else None
    return NOT_SET if holder is None or isinstance(holder, dict | list) else str(holder)


def _same(value: str) -> str:
    """One spelling for each value: 0.10 is 0.1."""
    found = as_number(value)
    return value if found is None else f"{found:g}"
