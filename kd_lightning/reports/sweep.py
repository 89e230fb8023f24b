"""Write the report of a sweep: settings over seeds, the Pareto front, and which key mattered."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_lightning.reports import plots
from kd_lightning.reports.formats import plain
from kd_lightning.reports.html import Page, Plot, Section, plot
from kd_lightning.reports.jobs import Job
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.page import write_page
from kd_lightning.reports.pareto import COSTS
from kd_lightning.reports.provenance import provenance, section
from kd_lightning.reports.settings import compare_jobs, finished_jobs
from kd_lightning.reports.sweep_plots import metric_against_cost
from kd_lightning.reports.sweep_tables import (
    best,
    caution,
    counted,
    front,
    keys,
    left_out,
    over_speakers,
    settings,
    tested_on,
    what_mattered,
)


def write_sweep_report(folder: Path) -> Path:
    """Compare the settings of a sweep and write its report.

    Args:
        folder: `multirun/<name>`.

    Returns:
        The report's folder, `multirun/<name>/report`.

    Raises:
        FileNotFoundError: when no job has finished.
        OSError: when a file cannot be written.
    """
    folder = Path(folder).resolve()
    jobs, left_out = finished_jobs(folder)
    origins = each_origin(jobs)
    sweep = compare_jobs(folder.name, jobs, left_out) | {"provenance": provenance(origins)}
    return write_page(folder / "report", sweep, sweep_page(sweep, origins))


def each_origin(jobs: Sequence[Job]) -> dict[str, Job]:
    """The first run that each code and each set of packages made, by its name: a sweep may have hundreds of runs."""
    origins: dict[str, Job] = {}
    for job in jobs:
        made_by = json.dumps([job.results.get("commit"), job.results.get("versions")], sort_keys=True)
        origins.setdefault(made_by, job)
    return {job.name: job for job in origins.values()}


def sweep_page(sweep: dict[str, Any], origins: Mapping[str, Job]) -> Page:
    """The page of a sweep; runs over several test sets have their own sections, and no number is compared across."""
    groups = [sweep, *sweep["others"]]
    sections = [part for place, group in enumerate(groups) for part in _sections(group, place, len(groups))]
    if sweep["left_out"]:
        table = left_out(sweep)
        sections.append(Section(table.title, [], [table], []))
    sections.append(section(sweep["provenance"], origins))
    fraction = sweep["corpus"]["labelled_fraction"]
    parts = [tested_on(sweep)]
    parts += (
        [f"{100 * fraction:.3g} % of the {task_of(sweep['task']).labels}"] if fraction is not None else []
    )
    parts += [counted(sweep)]
    parts += ["all runs: " + " ".join(map(plain, sweep["common"]))] if sweep["common"] else []
    return Page(
        title=f"{plain(sweep['task'] or 'Sweep')}: sweep {plain(sweep['name'])}",
        subtitle=" · ".join(parts),
        headline=caution(sweep),
        sections=sections,
        notes=[plain(note) for group in groups for note in group["notes"]],
    )


def _sections(group: dict[str, Any], place: int, groups: int) -> list[Section]:
    """Settings, front and keys of the runs over one test set."""
    task = task_of(group["task"])
    of = f": {tested_on(group)}" if groups > 1 else ""
    end = f"_{place + 1}" if place else ""
    told = (
        [f"Not compared with the runs above, which were tested otherwise: {_listed(group)}."] if place else []
    )
    told += [caution(group)] if place else []
    told += best(group)
    sections = [
        Section(
            f"Settings{of}",
            told,
            [settings(group, apart=True), over_speakers(group)],
            [
                plot(
                    f"settings{end}",
                    f"Mean test {task.called} of each setting with its interval and its seeds, and the difference to "
                    "no transfer.",
                    lambda theme: plots.settings_over_seeds(group, task, theme),
                )
            ],
        )
    ]
    drawn = [
        _cost_plot(group, cost, end) for cost in COSTS if any(cost in row["front"] for row in group["rows"])
    ]
    if drawn:
        sections.append(Section(f"Pareto front{of}", [], [front(group, apart=True)], drawn))
    if group["importance"]:
        sections.append(Section(f"Which key mattered{of}", what_mattered(group), [keys(group)], []))
    return sections


def _listed(group: dict[str, Any]) -> str:
    return plain("; ".join(group["differs"]) or "the test cuts are others")


def _cost_plot(group: dict[str, Any], cost: str, end: str) -> Plot:
    task = task_of(group["task"])
    return plot(
        f"front_{COSTS[cost].lower()}{end}",
        f"Mean test {task.called} of each setting against {COSTS[cost]}; the settings that nothing beats are numbered.",
        lambda theme: metric_against_cost(group, task, cost, theme),
    )
