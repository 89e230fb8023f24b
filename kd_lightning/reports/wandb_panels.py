"""What a dashboard in wandb shows of runs: panels in groups, under the keys that the runs have logged."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import wandb_workspaces.reports.v2.interface as wr  # v2 shows these names without saying so to mypy

from kd_lightning.reports.formats import heading
from kd_lightning.reports.runs import number
from kd_lightning.reports.task import Task
from kd_lightning.reports.wandb_runs import WandbRun

STEP = "trainer/global_step"
# In the summary of the last stage, once the stages have been compared.
GAP = "gap_recovered"

Runs = Sequence[WandbRun]


class PanelGroup(NamedTuple):
    """Panels that answer one question.

    Attributes:
        title: of the section.
        text: what to look for.
        panels: in reading order.
    """

    title: str
    text: str
    panels: list[Any]


def pipeline_panels(runs: Runs, task: Task[Any]) -> list[PanelGroup]:
    """The panels of a pipeline: its stages side by side."""
    quality = [
        wr.BarPlot(title=f"Test {task.called}", metrics=[task.metric]),
        wr.ScalarChart(title="Gap recovered", metric=GAP, groupby_aggfunc="max"),
        *(
            wr.BarPlot(title=f"Test {called}", metrics=[key])
            for key, called in task.others.items()
            if _any_states(runs, "metrics", key)
        ),
    ]
    return [
        PanelGroup(
            "Quality",
            "Gap recovered: (finetune - baseline) / (teacher - baseline); empty where teacher - baseline may be zero.",
            quality,
        ),
        *_of_training(runs, task, "stage"),
    ]


def sweep_panels(runs: Runs, swept: Sequence[str], task: Task[Any]) -> list[PanelGroup]:
    """The panels of a sweep: what was swept against what came of it.

    Args:
        runs: finished jobs.
        swept: keys of the words that differ between jobs, as ``optimizer.lr`` or ``transfer``.
        task: of the runs.
    """
    tested = wr.SummaryMetric(task.metric)
    # Choices are made on validation, where the runs have recorded it.
    validated = _any_states(runs, "validation", task.metric)
    key, of = (f"validation.{task.metric}", "Validation") if validated else (task.metric, "Test")
    chosen = wr.SummaryMetric(key)
    places = {key: _place(runs, key) for key in swept}
    columns = [
        *(wr.ParallelCoordinatesPlotColumn(metric=place, display_name=key) for key, place in places.items()),
        *(
            [wr.ParallelCoordinatesPlotColumn(metric=chosen, display_name=f"validation {task.called}")]
            if validated
            else []
        ),
        wr.ParallelCoordinatesPlotColumn(metric=tested, display_name=f"test {task.called}"),
    ]
    settings = [
        wr.ParallelCoordinatesPlot(title="Settings", columns=columns, layout=wr.Layout(w=24, h=9)),
        wr.ParameterImportancePlot(with_respect_to=key),
        *(
            wr.ScatterPlot(title=f"{of} {task.called} over {word}", x=place, y=chosen)
            for word, place in places.items()
        ),
    ]
    told = " Choose by validation; the test says what the choice is then worth." if validated else ""
    return [
        PanelGroup("Settings", f"What was swept, and what came of it.{told}", settings),
        *_of_training(runs, task, "job"),
    ]


def _of_training(runs: Runs, task: Task[Any], line: str) -> list[PanelGroup]:
    keys = sorted({key for run in runs for key in run.curves})
    groups = (_curves(keys, task, line), _terms(keys), _cost(runs, task), _samples(runs))
    return [group for group in groups if group.panels]


def _curves(keys: Sequence[str], task: Task[Any], line: str) -> PanelGroup:
    validated = _first(f"validation/{task.metric}", [key for key in keys if key.startswith("validation/")])
    return PanelGroup(
        f"Curves by {line}",
        f"Of validation, {task.called} first; a line a {line}.",
        [_line(heading(key.replace("/", " ", 1)), [key]) for key in validated],
    )


def _terms(keys: Sequence[str]) -> PanelGroup:
    terms = _first("train/loss", [key for key in keys if key.startswith("train/")])
    panels = [_line(key.removeprefix("train/"), [key]) for key in terms]
    if weights := [key for key in keys if key.startswith("weight/")]:
        panels.append(_line("weights of the terms", weights))
    if "optimizer/lr" in keys:
        panels.append(_line("learning rate", ["optimizer/lr"]))
    return PanelGroup("Loss terms", "The weighted sum, and each term before it is weighted.", panels)


def _cost(runs: Runs, task: Task[Any]) -> PanelGroup:
    costs = {
        "size_bytes": "size in bytes",
        "latency_ms.p50": "latency in ms, median",
        "macs": "multiply-accumulates",
        "real_time_factor": "real-time factor",
    }
    panels = [
        wr.ScatterPlot(
            title=f"Test {task.called} over {called}",
            x=wr.SummaryMetric(key),
            y=wr.SummaryMetric(task.metric),
            log_x=True,
        )
        for key, called in costs.items()
        if _any_states(runs, *key.split("."))
    ]
    return PanelGroup(
        "Quality against size and latency", "Of the PyTorch networks, where they were tested.", panels
    )


def _samples(runs: Runs) -> PanelGroup:
    keys = dict.fromkeys(key for run in runs for key in run.media)
    wide = wr.Layout(w=24, h=9)
    panels = [
        wr.MediaBrowser(title=key.rpartition("/")[2], media_keys=[key], num_columns=4, layout=wide)
        for key in keys
    ]
    return PanelGroup(
        "Samples", "To hear and to see, run by run; the slider goes back to earlier steps.", panels
    )


def _line(title: str, keys: Sequence[str]) -> Any:
    return wr.LinePlot(title=title, x=STEP, y=list(keys), title_x="optimizer steps", max_runs_to_show=100)


def _first(key: str, keys: Sequence[str]) -> list[str]:
    return sorted(keys, key=lambda other: (other != key, other))


def _any_states(runs: Runs, *keys: str) -> bool:
    return any(number(run.results, *keys) is not None for run in runs)


def _place(runs: Runs, key: str) -> Any:
    """Where wandb has the value of a word: in the config, or among the words where it chooses a file of a group."""
    return wr.Config(key if any(_is_plain(run.config, key) for run in runs) else f"words.{key}")


def _is_plain(config: Mapping[str, Any], key: str) -> bool:
    value: Any = config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return isinstance(value, str | int | float)
