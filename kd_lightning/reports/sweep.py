"""Write the report of a sweep: each setting's mean over seeds, its interval, its gain over no transfer."""

from pathlib import Path
from typing import Any

from kd_lightning.reports import plots
from kd_lightning.reports.formats import plain
from kd_lightning.reports.html import Page, Section, plot
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.page import write_page
from kd_lightning.reports.settings import compare_settings
from kd_lightning.reports.sweep_tables import caution, settings


def write_sweep_report(folder: Path) -> Path:
    """Compare the settings of a sweep and write its report.

    Args:
        folder: `multirun/<date>/<time>`.

    Returns:
        The report's folder, `multirun/<date>/<time>/report`.

    Raises:
        FileNotFoundError: when no job has finished.
        OSError: when a file cannot be written.
    """
    folder = Path(folder).resolve()
    sweep = compare_settings(folder)
    return write_page(folder / "report", sweep, sweep_page(sweep))


def sweep_page(sweep: dict[str, Any]) -> Page:
    """The page of a sweep."""
    task = task_of(sweep["task"])
    shown = plot(
        "settings",
        f"Mean {task.called} of each setting with its interval and its seeds, and the difference to no transfer.",
        lambda theme: plots.settings_over_seeds(sweep, task, theme),
    )
    fraction = sweep["corpus"]["labelled_fraction"]
    parts = [plain(sweep["corpus"]["name"] or "unknown corpus")]
    parts += [f"{100 * fraction:.3g} % of the {task.labels}"] if fraction is not None else []
    parts += ["all runs: " + " ".join(map(plain, sweep["common"]))] if sweep["common"] else []
    return Page(
        title=f"{plain(sweep['task'] or 'Sweep')}: sweep {plain(sweep['name'])}",
        subtitle=" · ".join(parts),
        headline=caution(sweep),
        sections=[Section("Settings", [], [settings(sweep)], [shown])],
        notes=[plain(note) for note in sweep["notes"]],
    )
