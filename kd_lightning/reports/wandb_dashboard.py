"""The workspace and the report of runs in wandb, as code: the same panels twice, to explore and to read."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import wandb_workspaces.reports.v2.interface as wr  # v2 shows these names without saying so to mypy
import wandb_workspaces.workspaces as ws

from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.runs import text, texts
from kd_lightning.reports.wandb_panels import GAP, STEP, PanelGroup, pipeline_panels, sweep_panels
from kd_lightning.reports.wandb_runs import WandbRun

LONGEST_TITLE = 128


class Dashboard(NamedTuple):
    """What is shown of some runs.

    Attributes:
        title: of the view and of the report.
        ids: of the runs; no others are shown.
        metric: key of the metric that decides.
        groups: a section each.
    """

    title: str
    ids: list[str]
    metric: str
    groups: list[PanelGroup]


def pipeline_dashboard(name: str, runs: Sequence[WandbRun]) -> Dashboard:
    """What is shown of the stages of a pipeline."""
    task = task_of(text(runs[-1].config, "task"))
    return Dashboard(name, [run.id for run in runs], task.metric, pipeline_panels(runs, task))


def sweep_dashboard(name: str, runs: Sequence[WandbRun]) -> Dashboard:
    """What is shown of the jobs of a sweep."""
    task = task_of(text(runs[-1].config, "task"))
    words: list[set[str]] = [set(texts(run.config.get("overrides"))) for run in runs]
    differing = sorted(words[0].union(*words) - words[0].intersection(*words))
    swept = dict.fromkeys(word.lstrip("+").partition("=")[0] for word in differing)
    panels = sweep_panels(runs, list(swept), task)
    return Dashboard(f"sweep {name}", [run.id for run in runs], task.metric, panels)


def workspace(shown: Dashboard, entity: str, project: str) -> ws.Workspace:
    """A view of a project with these runs alone; it is not saved."""
    columns = ["run:jobType", f"summary:{shown.metric}", f"summary:{GAP}"]
    columns += ["summary:size_bytes", "summary:latency_ms.p50"]
    return ws.Workspace(
        name=shown.title,
        entity=entity,
        project=project,
        sections=[ws.Section(name=group.title, panels=group.panels, is_open=True) for group in shown.groups],
        settings=ws.WorkspaceSettings(x_axis=STEP, max_runs=max(10, len(shown.ids))),
        runset_settings=ws.RunsetSettings(filters=_these(shown.ids), pinned_columns=columns),
        auto_generate_panels=False,
    )


def report(shown: Dashboard, entity: str, project: str, summary: str) -> wr.Report:
    """A report on these runs alone; it is not saved.

    Args:
        shown: what is shown.
        entity: who owns the project.
        project: where the runs are.
        summary: Markdown for its beginning.
    """
    blocks: list[Any] = [wr.MarkdownBlock(text=summary)]
    for group in shown.groups:
        runs = wr.Runset(entity=entity, project=project, name=shown.title, filters=_these(shown.ids))
        blocks += [
            wr.H2(text=group.title),
            wr.P(text=group.text),
            wr.PanelGrid(runsets=[runs], panels=group.panels),
        ]
    title = f"{shown.title}: what the students kept"[:LONGEST_TITLE]
    return wr.Report(project=project, entity=entity, title=title, blocks=blocks, width="fluid")


def _these(ids: Sequence[str]) -> str:
    return f"Metric('ID') in {list(ids)}"
