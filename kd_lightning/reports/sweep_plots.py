"""Plots of a sweep: the metric over what the networks cost, with the front of those that nothing beats."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter

from kd_lightning.reports.formats import SHARE, heading, magnitude, shortened, size
from kd_lightning.reports.pareto import COSTS, cost_of
from kd_lightning.reports.sweep_tables import on_front
from kd_lightning.reports.task import Task
from kd_lightning.reports.theme import Theme, new_figure, open_axes

WRITTEN = {"size_bytes": size, "macs": magnitude, "latency": lambda value: f"{value:.3g} ms"}
LONGEST = 100


def metric_against_cost(sweep: dict[str, Any], task: Task[Any], cost: str, theme: Theme) -> Figure:
    """Every setting's mean over its cost; those on the front are numbered and named, the step line is what they reach.

    Args:
        sweep: the settings, from ``compare_settings``.
        task: of the sweep.
        cost: a key of ``COSTS``.
        theme: light or dark.
    """
    rows = [
        row for row in sweep["rows"] if row["metrics"].get(task.metric) is not None and cost_of(row, cost)
    ]
    numbered = {row["setting"]: place for place, row in enumerate(on_front(sweep), start=1)}
    best = sorted((row for row in rows if cost in row["front"]), key=lambda row: cost_of(row, cost) or 0.0)
    figure = new_figure(7.8, 3.6 + 0.18 * len(best))
    axes = open_axes(figure.subplots())
    for row in rows:
        place, value = cost_of(row, cost) or 0.0, row["metrics"][task.metric]
        front = cost in row["front"]
        colour = theme.colour("baseline" if row["is_reference"] else "finetune") if front else theme.faint
        bounds = row["intervals"].get(task.metric)
        if bounds and all(bound is not None and np.isfinite(bound) for bound in bounds):
            axes.plot([place, place], bounds, color=colour, linewidth=1.2, alpha=0.8)
        marker = "D" if row["is_reference"] else "o"
        axes.plot(place, value, marker, color=colour, markersize=13 if front else 6, markeredgewidth=0)
        if front:
            axes.annotate(
                str(numbered[row["setting"]]), (place, value), ha="center", va="center",
                color=theme.paper, fontsize=8, fontweight="bold",
            )  # fmt: skip
    if best:
        reached = [row["metrics"][task.metric] for row in best]
        axes.step(
            [cost_of(row, cost) or 0.0 for row in best], reached, where="post", color=theme.colour("finetune"),
            linewidth=1.2, alpha=0.5, zorder=1,
        )  # fmt: skip
    _name_axes(axes, task, cost)
    handles = [
        Line2D(
            [], [], linestyle="", label=f"{numbered[row['setting']]}. {shortened(row['setting'], LONGEST)}"
        )
        for row in best
    ]
    figure.legend(
        handles=handles,
        loc="outside lower left",
        frameon=False,
        fontsize=8.5,
        handlelength=0,
        handletextpad=0,
    )
    return figure


def _name_axes(axes: Any, task: Task[Any], cost: str) -> None:
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.14)
    written = FuncFormatter(lambda value, _: WRITTEN[cost](value))
    low, high = axes.get_xlim()
    axes.xaxis.set_major_formatter(written)
    axes.xaxis.set_minor_formatter(written if high / low < 12 else NullFormatter())
    axes.tick_params(axis="x", which="minor", labelsize=7.5)
    if task.main == SHARE:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{task.main.scale * value:g}"))
    better = " (lower is better)" if task.lower_is_better else ""
    called = task.called if task.main == SHARE else task.main.head(task.called)
    axes.set(
        xlabel=f"{COSTS[cost]} of the network (log)",
        ylabel=f"test {called}{better}",
        title=f"{heading(task.called)} against {COSTS[cost]}: numbered is what nothing beats at its cost",
    )
