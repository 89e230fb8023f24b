"""Write the report of a pipeline: comparison.json, comparison.md, index.html and the plots."""

from pathlib import Path
from typing import Any

from kd_lightning.files import write
from kd_lightning.reports import plots, tables
from kd_lightning.reports.comparison import compare_runs, read_stages
from kd_lightning.reports.formats import plain
from kd_lightning.reports.html import Page, Plot, Section, html, plot
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.markdown import bullets, escape, markdown
from kd_lightning.reports.provenance import provenance
from kd_lightning.reports.provenance import section as origins
from kd_lightning.reports.runs import Run
from kd_lightning.reports.streaming import det_curves, listened_to, streaming_table
from kd_lightning.reports.strict_json import to_json
from kd_lightning.reports.task import Task


def write_report(folder: Path) -> Path:
    """Compare the stages of a pipeline folder and write its report.

    Args:
        folder: `runs/<name>`.

    Returns:
        The report's folder, `runs/<name>/report`.

    Raises:
        FileNotFoundError: when no stage can be read.
        OSError: when a file cannot be written.
    """
    folder = Path(folder).resolve()
    runs, notes = read_stages(folder)
    comparison = compare_runs(folder.name, runs, notes) | {"provenance": provenance(runs)}
    return write_page(folder / "report", comparison, page(comparison, runs))


def write_page(report: Path, comparison: dict[str, Any], page: Page) -> Path:
    """Write a comparison as JSON, Markdown, HTML and PNG files; comparison.json comes last."""
    for section in page.sections:
        for drawn in section.drawn:
            write(report / f"{drawn.name}.png", drawn.light)
    write(report / "index.html", html(page))
    write(report / "comparison.md", as_markdown(page))
    write(report / "comparison.json", to_json(comparison))
    return report


def page(comparison: dict[str, Any], runs: dict[str, Run]) -> Page:
    """The page of a pipeline."""
    task = task_of(comparison["task"])
    qualities = [tables.quality(comparison), *task.further_quality(comparison)]
    sections = [
        Section("Quality", tables.sentences(comparison), qualities, []),
        Section("Cost", [], [tables.cost(comparison)], [_size_plot(comparison, task)]),
    ]
    if comparison["exports"]:
        sections.append(Section("Exports", [], [tables.exports(comparison)], []))
    if comparison["streaming"]:
        sections.append(_in_use(comparison["streaming"]))
    if comparison["differences"]:
        differences = tables.differences(comparison)
        sections.append(Section(differences.title, [], [differences], []))
    if any(run.curves for run in runs.values()):
        sections.append(Section("Learning curves", [], [], [_curve_plot(runs, task)]))
    sections.extend(task.sections(comparison, runs))
    sections.append(origins(comparison["provenance"], runs))
    return Page(
        title=f"{plain(comparison['task'] or 'Distillation')}: {plain(comparison['name'])}",
        subtitle=tables.setting(comparison),
        headline=tables.headline(comparison),
        sections=sections,
        notes=tables.stage_notes(comparison),
    )


def as_markdown(page: Page) -> str:
    """The same page as Markdown, beside its plots."""
    parts = [f"# {escape(page.title)}\n\n{escape(page.subtitle)}\n\n**{escape(page.headline)}**\n"]
    for section in page.sections:
        parts.append(f"## {escape(section.title)}\n")
        if section.text:
            parts.append(bullets(section.text))
        parts.extend(markdown(table, table.title != section.title) for table in section.tables)
        parts.extend(markdown(utterance.table) for utterance in section.utterances)
        for heard in section.heard:
            parts.append(markdown(heard.table))
            parts.extend(_image(one) for one in (heard.picture,) if one)
        parts.extend(_image(one) for one in section.plots)
    if page.notes:
        parts.append(f"## Notes\n\n{bullets(page.notes)}")
    return "\n".join(parts)


def _image(drawn: Plot) -> str:
    return f"![{escape(drawn.description)}]({drawn.name}.png)\n"


def _in_use(rows: list[dict[str, Any]]) -> Section:
    """How each stage's network behaves on long audio."""
    drawn = plot(
        "det",
        "Miss rate over false alarms per hour and keyword, a curve a stage; lower left is better.",
        lambda theme: det_curves(rows, theme),
    )
    return Section("In use", [listened_to(rows[0])], [streaming_table(rows)], [drawn])


def _size_plot(comparison: dict[str, Any], task: Task[Any]) -> Plot:
    return plot(
        f"{task.metric}_size",
        f"Test {task.called} with its interval against the size of the weights, of networks and exported files.",
        lambda theme: plots.metric_against_size(comparison, task, theme),
    )


def _curve_plot(runs: dict[str, Run], task: Task[Any]) -> Plot:
    return plot(
        "learning_curves",
        f"Validation {task.called} of each stage over steps, and the loss terms of each stage.",
        lambda theme: plots.learning_curves(runs, task, theme),
    )
