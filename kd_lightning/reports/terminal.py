"""Tables in a terminal, readable at 100 columns."""

import json
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from kd_lightning.reports import sweep_tables, tables
from kd_lightning.reports.formats import plain
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.streaming import streaming_table
from kd_lightning.reports.table import Table

# Of a cell in characters, with its interval; what is longer is prose.
LONGEST_NUMBER = 28


def print_report(report: Path, console: Console | None = None) -> None:
    """Print a written report, of a pipeline or of a sweep.

    Args:
        report: the folder that holds comparison.json.
        console: where to; the terminal by default.
    """
    comparison = json.loads((report / "comparison.json").read_text(encoding="utf-8"))
    console = console or default_console()
    if "gap_recovered" in comparison:
        print_comparison(comparison, console)
    else:
        print_sweep(comparison, console)
    console.print(Text(f"Report: {report / 'index.html'}", style="dim"))


def default_console() -> Console:
    """The terminal at its width; in a pipe or a log, 100 columns."""
    console = Console()
    return console if console.is_terminal else Console(width=100)


def print_comparison(comparison: dict[str, Any], console: Console | None = None) -> None:
    """Print a comparison: quality, cost, exports, the gap recovered, and what the task adds.

    Args:
        comparison: what `comparison.compare` returns, or comparison.json holds.
        console: where to; the terminal by default.
    """
    console = console or default_console()
    console.print(Text(tables.setting(comparison), style="dim"))
    task = task_of(comparison["task"])
    for table in (tables.quality(comparison), *task.further_quality(comparison), tables.cost(comparison)):
        console.print(rich_table(table))
    if comparison["exports"]:
        console.print(rich_table(tables.exports(comparison)))
    if comparison["streaming"]:
        console.print(rich_table(streaming_table(comparison["streaming"])))
    console.print(Text(tables.headline(comparison), style="bold"))
    print_lines(tables.sentences(comparison), console)
    for table in task.printed(comparison):
        console.print(rich_table(table))
    print_lines([f"Note: {note}" for note in tables.stage_notes(comparison)], console, style="yellow")


def print_sweep(sweep: dict[str, Any], console: Console | None = None) -> None:
    """Print a sweep.

    Args:
        sweep: what `compare_settings` returns, or a sweep's comparison.json holds.
        console: where to; the terminal by default.
    """
    console = console or default_console()
    for place, group in enumerate([sweep, *sweep["others"]]):
        if place:
            differs = "; ".join(group["differs"]) or "the test cuts are others"
            console.print(Text(plain(f"Tested otherwise, and compared with nothing above ({differs}):")))
        console.print(Text(sweep_tables.tested_on(group), style="dim"))
        _print_group(group, console)
    console.print(Text(sweep_tables.counted(sweep)))
    if sweep["left_out"]:
        console.print(rich_table(sweep_tables.left_out(sweep)))


def _print_group(group: dict[str, Any], console: Console) -> None:
    if group["common"]:
        console.print(Text("All runs: " + " ".join(map(plain, group["common"])), style="dim"))
    console.print(rich_table(sweep_tables.settings(group)))
    console.print(Text(sweep_tables.caution(group), style="yellow"))
    if any(row["front"] for row in group["rows"]):
        console.print(rich_table(sweep_tables.front(group)))
    if group["importance"]:
        console.print(rich_table(sweep_tables.keys(group)))
        print_lines(sweep_tables.what_mattered(group), console, style="bold")
    print_lines([f"Note: {note}" for note in group["notes"]], console, style="yellow")


def rich_table(table: Table) -> RichTable:
    """A table for rich; cells are plain text, never markup."""
    title = Text(table.title, style="bold")
    drawn = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(table.columns):
        # Heads, names and prose give way: a number is never broken over two lines, nor pushed out of the terminal.
        widest = max((len(row[place]) for row in table.rows), default=0)
        number = place and widest <= LONGEST_NUMBER
        drawn.add_column(
            Text(plain(column)),
            justify="right" if place else "left",
            overflow="fold",
            width=max([widest, *map(len, column.split())]) if number else None,
            min_width=min(widest, 10),
        )
    for row in table.rows:
        drawn.add_row(*(Text(plain(cell)) for cell in row))
    return drawn


def print_lines(lines: list[str], console: Console, style: str = "") -> None:
    """Print plain lines."""
    for line in lines:
        console.print(Text(plain(line), style=style))
