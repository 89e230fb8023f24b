"""The plots of the reports: values and a theme in, a figure out. Text of a run is never markup."""

from collections.abc import Mapping, Sequence
from itertools import cycle, product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import Formatter, FuncFormatter, LogLocator, NullFormatter, PercentFormatter
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from kd_lightning.reports.formats import SHARE, heading, plain, size
from kd_lightning.reports.runs import Curve, Run, number
from kd_lightning.reports.task import Task
from kd_lightning.reports.theme import Theme, new_figure, open_axes

SMOOTHED_POINTS = 60
# Where the label of a point may stand, in points from it: the nearest first.
BESIDE = tuple((right, up) for up, right in product((4, -4, 18, -18, 32, -32), (9, -9)))


def metric_against_size(comparison: dict[str, Any], task: Task[Any], theme: Theme) -> Figure:
    """The task's metric with its interval over bytes; exported files are hollow."""
    figure = new_figure(7.2, 4.2)
    axes = open_axes(figure.subplots())
    places = [(row, row["stage"], row["stage"], True) for row in comparison["rows"]]
    for export in comparison["exports"]:
        form = " ".join(part for part in (export["format"], export["precision"]) if part)
        places.append((export, export["stage"], f"{export['stage']} {form}", False))
    shown, bars = [], []
    for row, stage, label, filled in places:
        value, low_high = row["metrics"].get(task.metric), row["intervals"].get(task.metric)
        if not row["size_bytes"] or value is None:
            continue
        colour = theme.colour(stage)
        if low_high and all(bound is not None for bound in low_high):
            spread = np.abs(np.array([low_high]).T - value)
            bars.append((row["size_bytes"], low_high))
            axes.errorbar(row["size_bytes"], value, spread, color=colour, capsize=3, elinewidth=1.2)
        axes.plot(
            row["size_bytes"], value, "o", color=colour, markersize=8,
            markerfacecolor=colour if filled else theme.paper, markeredgewidth=1.6,
        )  # fmt: skip
        shown.append((row["size_bytes"], value, label, colour))
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.15)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
    low, high = axes.get_xlim()
    # Over less than two powers of ten, those alone would be too few numbers on the axis.
    if high / low > 4:
        axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.tick_params(axis="x", which="minor", pad=5)  # on one line with the powers
    between = FuncFormatter(lambda value, _: size(value)) if high / low < 100 else NullFormatter()
    axes.xaxis.set_minor_formatter(between)
    axes.yaxis.set_major_formatter(_numbers(task))
    better = " (lower is better)" if task.lower_is_better else ""
    axes.set(
        xlabel="size of the weights (log)",
        ylabel=f"test {_named(task)}{better}",
        title=f"{heading(task.called)} against size",
    )
    _label_apart(axes, shown, bars)
    return figure


def _label_apart(
    axes: Axes,
    points: Sequence[tuple[float, float, str, str]],
    bars: Sequence[tuple[float, Sequence[float]]],
) -> None:
    """Write a label beside each point, inside the axes, hiding no label, point or bar if there is such a place.

    Args:
        axes: with everything else in it.
        points: x, y, label and colour.
        bars: x, and the y of both ends.
    """
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.draw_without_rendering()  # now the layout has settled
    centres = [axes.transData.transform((x, y)) for x, y, *_ in points]
    taken = [Bbox.from_extents(*(centre - 7), *(centre + 7)) for centre in centres]
    left, right, far = axes.bbox.xmin, axes.bbox.xmax, 10_000  # pixels
    taken += [Bbox.from_extents(-far, -far, left, far), Bbox.from_extents(right, -far, far, far)]
    for x, ends in bars:
        below, above = (axes.transData.transform((x, end)) for end in ends)
        taken.append(Bbox.from_extents(*(below - 2), *(above + 2)))
    for x, y, label, colour in points:
        text = axes.annotate(
            plain(label), (x, y), (0, 0), textcoords="offset points", color=colour, fontsize=9
        )
        taken.append(_place(text, taken))


def _place(text: Annotation, taken: Sequence[Bbox]) -> Bbox:
    """Move a label where it overlaps least; what it then covers."""

    def covered(where: tuple[int, int]) -> Bbox:
        text.set_position(where)
        text.set(ha="left" if where[0] > 0 else "right", va="bottom" if where[1] > 0 else "top")
        return text.get_window_extent()

    return covered(min(BESIDE, key=lambda where: covered(where).count_overlaps(taken)))


def learning_curves(runs: Mapping[str, Run], task: Task[Any], theme: Theme) -> Figure:
    """The task's metric on validation of all stages over steps, and each stage's loss terms below.

    Finetune is drawn after distill, so that both together stand over the baseline's steps.
    """
    stages = [stage for stage in runs if any(key.startswith("train/") for key in runs[stage].curves)]
    columns = min(2, len(stages)) or 1
    rows = -(-len(stages) // columns)
    figure = new_figure(7.2, 3.2 + 2.3 * rows)
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[1.5] + [1.0] * rows)
    axes = open_axes(figure.add_subplot(grid[0, :]))
    for stage, run in runs.items():
        curve = run.curves.get(f"validation/{task.metric}")
        if curve is not None:
            before = (
                (number(runs["distill"].results, "steps") or 0)
                if stage == "finetune" and "distill" in runs
                else 0
            )
            axes.plot(
                curve.steps + before, curve.values, color=theme.colour(stage), linewidth=1.8, label=stage
            )
    axes.yaxis.set_major_formatter(_numbers(task, decimals=0))
    better = ", lower is better" if task.lower_is_better else ""
    axes.set(title=f"Validation {_named(task)}{better}", xlabel="steps (finetune follows distill)")
    if task.lower_is_better and task.main == SHARE:
        # A network that only inserts words makes more errors than there are words: it would flatten all else.
        axes.set_ylim(0, min(1.05, axes.get_ylim()[1]))
    if axes.lines:
        axes.legend(frameon=False, loc="upper right" if task.lower_is_better else "lower right", ncols=4)
    for place, stage in enumerate(stages):
        _loss_terms(figure.add_subplot(grid[1 + place // columns, place % columns]), runs[stage], theme)
    return figure


def _loss_terms(axes: Any, run: Run, theme: Theme) -> None:
    open_axes(axes)
    terms = {
        key.removeprefix("train/"): curve for key, curve in run.curves.items() if key.startswith("train/")
    }
    order = sorted(terms, key=lambda term: (term != "loss", term))
    for term, dashes in zip(order, cycle(("-", "--", ":", "-.")), strict=False):
        curve = _smoothed(terms[term])
        axes.plot(
            curve.steps, curve.values, dashes, color=theme.colour(run.stage), linewidth=1.4, label=plain(term)
        )
    axes.set_title(f"Loss terms, {run.stage}")
    axes.set_xlabel("steps")
    # Spelled out, because a label that starts with an underscore would be dropped.
    lines = axes.get_lines()
    axes.legend(lines, [line.get_label() for line in lines], frameon=False, fontsize=8)


def _smoothed(curve: Curve) -> Curve:
    """Means of up to SMOOTHED_POINTS consecutive pieces of a curve."""
    pieces = min(SMOOTHED_POINTS, len(curve.steps))
    steps, values = (np.array_split(part, pieces) for part in curve)
    return Curve(np.array([part.mean() for part in steps]), np.array([part.mean() for part in values]))


def settings_over_seeds(sweep: dict[str, Any], task: Task[Any], theme: Theme) -> Figure:
    """Every setting's mean with its interval and its seeds; right of it the difference to its reference."""
    rows = [row for row in sweep["rows"] if row["metrics"].get(task.metric) is not None]
    figure = new_figure(7.8, 1.5 + 0.42 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.5, 1])
    for place, row in enumerate(rows):
        colour = theme.colour("baseline" if row["is_reference"] else "finetune")
        values = [value for value in row["values"] if value is not None]
        left.plot(
            values, [place + 0.2] * len(values), "o", color=colour, alpha=0.5, markersize=5, markeredgewidth=0
        )
        _bar(left, row["metrics"][task.metric], row["intervals"].get(task.metric), place, colour, 1.0)
        if row["difference"]:
            bounds = row["difference"]["interval"]
            _bar(right, row["difference"]["value"], bounds, place, colour, task.main.scale)
    for axes in (left, right):
        open_axes(axes)
        axes.grid(False, axis="y")
    right.axvline(0, color=theme.faint, linewidth=1, linestyle="--")
    left.set_yticks(range(len(rows)), [plain(row["setting"]) for row in rows])
    left.set_ylim(len(rows) - 0.4, -0.6)
    left.xaxis.set_major_formatter(_numbers(task))
    if task.main == SHARE:  # the interval of two seeds can be wider than all there is
        low, high = left.get_xlim()
        left.set_xlim(max(low, 0.0), min(high, 1.0))
    better = f", {task.direction}" if task.direction else ""
    left.set_title(f"{heading(_named(task))}, mean ± 95 %")
    right.set_title(f"Difference, {task.main.differences}{better}")
    seeds = Line2D(
        [], [], marker="o", linestyle="", color=theme.faint, alpha=0.6, markersize=5, label="one seed"
    )
    left.legend(handles=[seeds], frameon=False, fontsize=8, loc="best")
    return figure


def shares_below(values: Mapping[str, NDArray[np.float64]], called: str, theme: Theme) -> Figure:
    """The share of utterances below each value of a measure, a step a utterance and a curve a stage.

    Args:
        values: (N,) by stage, NaN unknown.
        called: what is measured, with its unit.
        theme: light or dark.
    """
    figure = new_figure(7.2, 3.4)
    axes = open_axes(figure.subplots())
    for stage, measured in values.items():
        known = measured[np.isfinite(measured)]
        if known.size:
            axes.ecdf(known, color=theme.colour(stage), linewidth=1.8, label=stage)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(title=f"{called}, utterance by utterance", xlabel=called, ylabel="utterances below")
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, loc="lower right")
    return figure


def _named(task: Task[Any]) -> str:
    """The metric, with its unit unless the numbers on the axis carry it."""
    return task.called if task.main == SHARE else task.main.head(task.called)


def _numbers(task: Task[Any], decimals: int | None = None) -> Formatter:
    """How the task's metric is written on an axis."""
    if task.main == SHARE:
        return PercentFormatter(1.0, decimals=decimals)
    return FuncFormatter(lambda value, _: f"{task.main.scale * value:g}")


def _bar(
    axes: Any, value: float, interval: list[float | None] | None, place: int, colour: str, scale: float
) -> None:
    if interval and all(bound is not None and np.isfinite(bound) for bound in interval):
        axes.plot([scale * (bound or 0.0) for bound in interval], [place, place], color=colour, linewidth=2)
    axes.plot(scale * value, place, "D", color=colour, markersize=6)
