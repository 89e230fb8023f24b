"""Write the report of a pipeline: comparison.json, comparison.md, index.html and the plots."""

from pathlib import Path
from typing import Any

from kd_lightning.files import write
from kd_lightning.reports import plots, tables
from kd_lightning.reports.comparison import compare_runs, read_stages
from kd_lightning.reports.formats import plain
from kd_lightning.reports.html import Page, Plot, Section, html, plot
from kd_lightning.reports.markdown import bullets, escape, markdown
from kd_lightning.reports.runs import Run
from kd_lightning.reports.streaming import det_curves, listened_to, streaming_table
from kd_lightning.reports.strict_json import to_json
from kd_lightning.reports.tables import Table


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
    comparison = compare_runs(folder.name, runs, notes)
    return write_page(folder / "report", comparison, page(comparison, runs))


def write_page(report: Path, comparison: dict[str, Any], page: Page) -> Path:
    """Write a comparison as JSON, Markdown, HTML and PNG files; comparison.json comes last."""
    for section in page.sections:
        for drawn in section.plots:
            write(report / f"{drawn.name}.png", drawn.light)
    write(report / "index.html", html(page))
    write(report / "comparison.md", as_markdown(page))
    write(report / "comparison.json", to_json(comparison))
    return report


def page(comparison: dict[str, Any], runs: dict[str, Run]) -> Page:
    """The page of a pipeline."""
    sections = [
        Section("Quality", tables.sentences(comparison), [tables.quality(comparison)], []),
        Section("Cost", [], [tables.cost(comparison)], [_size_plot(comparison)]),
    ]
    if comparison["exports"]:
        sections.append(Section("Exports", [], [tables.exports(comparison)], []))
    if comparison["streaming"]:
        sections.append(_in_use(comparison["streaming"]))
    if comparison["differences"]:
        sections.append(Section("Differences in accuracy", [], [tables.differences(comparison)], []))
    sections.extend(_changes(comparison))
    if any(run.curves for run in runs.values()):
        sections.append(Section("Learning curves", [], [], [_curve_plot(runs)]))
    shown = {stage: run for stage, run in runs.items() if stage != "distill" or "finetune" not in runs}
    words = comparison["corpus"]["classes"]
    confusion = plot(
        "confusion",
        "Confusion matrices: share of each word said that was heard as each word.",
        lambda theme: plots.confusion_matrices(shown, words, theme),
    )
    confused = [tables.confusions(comparison)] if comparison["confusions"] else []
    sections.append(Section("Confusions", [], confused, [confusion]))
    calibration = plot(
        "reliability",
        "Reliability diagrams: accuracy over confidence, and how many cuts lie at each confidence.",
        lambda theme: plots.reliability(runs, theme),
    )
    text = ["On the diagonal a network is right as often as it is sure; below it is overconfident."]
    sections.append(Section("Reliability", text, [], [calibration]))
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
        parts.extend(f"![{escape(one.description)}]({one.name}.png)\n" for one in section.plots)
    if page.notes:
        parts.append(f"## Notes\n\n{bullets(page.notes)}")
    return "\n".join(parts)


def _changes(comparison: dict[str, Any]) -> list[Section]:
    """What the student lost and gained: by noise level, then by word."""
    by_noise: list[Table] = [tables.noise(comparison)] if comparison["noise"] else []
    by_noise += [tables.flips_by_noise(found) for found in comparison["flips"] if found["by_noise"]]
    by_word = [tables.flips_by_word(found) for found in comparison["flips"]]
    text = ["Lost: right before, wrong now. Gained: wrong before, right now."]
    return [
        Section(title, text, found, [])
        for title, found in (("What changed, by noise level", by_noise), ("What changed, by word", by_word))
        if found
    ]


def _in_use(rows: list[dict[str, Any]]) -> Section:
    """How each stage's network behaves on long audio."""
    drawn = plot(
        "det",
        "Miss rate over false alarms per hour and keyword, a curve a stage; lower left is better.",
        lambda theme: det_curves(rows, theme),
    )
    return Section("In use", [listened_to(rows[0])], [streaming_table(rows)], [drawn])


def _size_plot(comparison: dict[str, Any]) -> Plot:
    return plot(
        "accuracy_size",
        "Test accuracy with its interval against the size of the weights, of networks and exported files.",
        lambda theme: plots.accuracy_against_size(comparison, theme),
    )


def _curve_plot(runs: dict[str, Run]) -> Plot:
    return plot(
        "learning_curves",
        "Validation accuracy of each stage over steps, and the loss terms of each stage.",
        lambda theme: plots.learning_curves(runs, theme),
    )
