"""A doctor's report in a terminal, readable at 100 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kd_lightning.checks.costs import Costs, in_bytes, in_time
from kd_lightning.checks.finding import Finding, Level
from kd_lightning.reports import table
from kd_lightning.reports.formats import UNKNOWN
from kd_lightning.reports.terminal import rich_table

_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.WRONG: "bold red"}


def print_findings(title: str, findings: Iterable[Finding], console: Console) -> None:
    """Print a heading and a line for each finding."""
    grid = Table.grid(padding=(0, 1))
    for width in (7, 13):
        grid.add_column(min_width=width, no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in findings:
        grid.add_row(
            Text(finding.level, style=_STYLES[finding.level]), Text(finding.what), Text(finding.says)
        )
    console.print(Text(title, style="bold"))
    console.print(grid)
    console.print()


def costs_table(costs: Sequence[Costs]) -> table.Table:
    """What the stages will take, and all together."""
    rows = [
        [
            each.stage,
            each.network,
            f"{each.parameters:,}",
            f"{each.epochs * each.epoch_steps:,}",
            f"{1000 * each.step_seconds:.1f}" if each.step_seconds else UNKNOWN,
            in_time(each.seconds()),
            in_bytes(each.memory) if each.memory else UNKNOWN,
            in_bytes(each.disk),
        ]
        for each in costs
    ]
    seconds, memory = sum(each.seconds() for each in costs), max(each.memory for each in costs)
    disk = in_bytes(sum(each.disk for each in costs))
    rows.append(["together", "", "", "", "", in_time(seconds), in_bytes(memory), disk])
    columns = ["stage", "network", "params", "steps", "ms a step", "time", "memory", "disk"]
    return table.Table("What it will take on this machine, as busy as it is now", columns, rows)


def print_costs(costs: Sequence[Costs], console: Console) -> None:
    """Print what the stages will take."""
    if costs:
        console.print(rich_table(costs_table(costs)))
