"""The plots of the reports: values and a theme in, a figure out. Text of a run is never markup."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter
from numpy.typing import NDArray

from kd_lightning.reports.formats import plain, size
from kd_lightning.reports.runs import Curve, Run, number
from kd_lightning.reports.theme import Theme, new_figure, open_axes

CALIBRATION_BINS = 15
SMOOTHED_POINTS = 60


def accuracy_against_size(comparison: dict[str, Any], theme: Theme) -> Figure:
    """Accuracy with its interval over bytes; exported files are hollow."""
    figure = new_figure(7.2, 4.2)
    axes = open_axes(figure.subplots())
    places = [(row, row["stage"], row["stage"], True) for row in comparison["rows"]]
    for export in comparison["exports"]:
        form = " ".join(part for part in (export["format"], export["precision"]) if part)
        places.append((export, export["stage"], f"{export['stage']} {form}", False))
    labels: dict[float, int] = {}
    for row, stage, label, filled in places:
        accuracy, low_high = row["metrics"].get("accuracy"), row["intervals"].get("accuracy")
        if not row["size_bytes"] or accuracy is None:
            continue
        colour = theme.colour(stage)
        if low_high and all(bound is not None for bound in low_high):
            spread = np.abs(np.array([low_high]).T - accuracy)
            axes.errorbar(row["size_bytes"], accuracy, spread, color=colour, capsize=3, elinewidth=1.2)
        axes.plot(
            row["size_bytes"], accuracy, "o", color=colour, markersize=8,
            markerfacecolor=colour if filled else theme.paper, markeredgewidth=1.6,
        )  # fmt: skip
        nearby = labels[row["size_bytes"]] = labels.get(row["size_bytes"], -1) + 1
        side = (9, "left") if nearby % 2 == 0 else (-9, "right")
        axes.annotate(
            plain(label), (row["size_bytes"], accuracy), (side[0], 4), textcoords="offset points",
            ha=side[1], va="bottom", color=colour, fontsize=9,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.25, y=0.15)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
    low, high = axes.get_xlim()
    few = FuncFormatter(lambda value, _: size(value)) if high / low < 12 else NullFormatter()
    axes.xaxis.set_minor_formatter(few)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    axes.set(xlabel="size of the weights (log)", ylabel="test accuracy", title="Accuracy against size")
    return figure


def learning_curves(runs: Mapping[str, Run], theme: Theme) -> Figure:
    """Validation accuracy of all stages over steps, and each stage's loss terms below.

    Finetune is drawn after distill, so that both together stand over the baseline's steps.
    """
    stages = [stage for stage in runs if any(key.startswith("train/") for key in runs[stage].curves)]
    columns = min(2, len(stages)) or 1
    rows = -(-len(stages) // columns)
    figure = new_figure(7.2, 3.2 + 2.3 * rows)
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[1.5] + [1.0] * rows)
    axes = open_axes(figure.add_subplot(grid[0, :]))
    for stage, run in runs.items():
        curve = run.curves.get("validation/accuracy")
        if curve is not None:
            before = (
                (number(runs["distill"].results, "steps") or 0)
                if stage == "finetune" and "distill" in runs
                else 0
            )
            axes.plot(
                curve.steps + before, curve.values, color=theme.colour(stage), linewidth=1.8, label=stage
            )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set(title="Validation accuracy", xlabel="steps (finetune follows distill)")
    if axes.lines:
        axes.legend(frameon=False, loc="lower right", ncols=4)
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


def confusion_matrices(runs: Mapping[str, Run], classes: list[str], theme: Theme) -> Figure:
    """Share of each word heard as each word, one matrix a stage; the scale brings out small confusions.

    Args:
        runs: the stages to draw, usually teacher, baseline and finetune.
        classes: order of the words; words that it lacks are appended.
        theme: colours.
    """
    said = {word for run in runs.values() for words in run.predictions[1:3] for word in words}
    names = [*classes, *sorted(said - set(classes))]
    panel = 3.3 if len(names) <= 24 else 4.2
    figure = new_figure(panel * len(runs) + 1.1, panel + 1.0, layout="compressed")
    grid = figure.subplots(1, len(runs), squeeze=False)[0]
    font = 7 if len(names) <= 24 else 5
    image = None
    for place, (axes, (stage, run)) in enumerate(zip(grid, runs.items(), strict=True)):
        shares = _confusion(run, names)
        image = axes.imshow(shares, cmap=theme.colormap, norm=PowerNorm(0.4, 0, 1), aspect="equal")
        axes.set_title(stage, color=theme.colour(stage))
        axes.set_xticks(range(len(names)), [plain(name) for name in names], rotation=90, fontsize=font)
        axes.set_yticks(
            range(len(names)), [plain(name) for name in names] if not place else [], fontsize=font
        )
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("heard")
    grid[0].set_ylabel("said")
    if image is not None:
        bar = figure.colorbar(image, ax=list(grid), shrink=0.75, pad=0.01, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1])
        bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=8)
    return figure


def _confusion(run: Run, names: list[str]) -> NDArray[np.float64]:
    """Row-normalised confusion matrix, reference by output; a word never said is a row of zeros."""
    place = {name: index for index, name in enumerate(names)}
    references, outputs = ([place[word] for word in words] for words in run.predictions[1:3])
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (references, outputs), 1)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def reliability(runs: Mapping[str, Run], theme: Theme) -> Figure:
    """Accuracy over confidence in bins of equal width; a calibrated network lies on the diagonal.

    The bars below show how many cuts lie in each bin.
    """
    columns = len(runs)
    figure = new_figure(2.35 * columns + 0.5, 3.5)
    grid = figure.subplots(2, columns, squeeze=False, sharex=True, height_ratios=[3.2, 1], sharey="row")
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    for place, (stage, run) in enumerate(runs.items()):
        upper, lower, colour = open_axes(grid[0, place]), open_axes(grid[1, place]), theme.colour(stage)
        scores, correct = run.predictions.scores, run.predictions.correct
        known = np.isfinite(scores)
        bins = np.clip(np.digitize(scores[known], edges[1:-1]), 0, CALIBRATION_BINS - 1)
        cuts = np.bincount(bins, minlength=CALIBRATION_BINS)
        right = np.bincount(bins, weights=correct[known], minlength=CALIBRATION_BINS)
        upper.plot([0, 1], [0, 1], color=theme.faint, linewidth=1, linestyle="--")
        used = cuts > 0
        upper.plot(middle[used], right[used] / cuts[used], "o-", color=colour, markersize=4, linewidth=1.5)
        upper.set_title(stage, color=colour)
        upper.set(xlim=(0, 1), ylim=(0, 1.02))
        lower.bar(middle, cuts / max(1, cuts.sum()), width=0.9 / CALIBRATION_BINS, color=colour)
        lower.set_xticks([0, 0.5, 1])
        for axes in (upper, lower):
            axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        lower.set_xlabel("confidence")
    grid[0, 0].set_ylabel("accuracy")
    grid[1, 0].set_ylabel("cuts")
    return figure


def settings_over_seeds(sweep: dict[str, Any], theme: Theme) -> Figure:
    """Every setting's mean with its interval and its seeds; right of it the difference to its reference."""
    rows = [row for row in sweep["rows"] if row["metrics"].get("accuracy") is not None]
    figure = new_figure(7.8, 1.5 + 0.42 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1.5, 1])
    for place, row in enumerate(rows):
        colour = theme.colour("baseline" if row["is_reference"] else "finetune")
        values = [value for value in row["values"] if value is not None]
        left.plot(
            values, [place + 0.2] * len(values), "o", color=colour, alpha=0.5, markersize=5, markeredgewidth=0
        )
        _bar(left, row["metrics"]["accuracy"], row["intervals"].get("accuracy"), place, colour, 1.0)
        if row["difference"]:
            bounds = row["difference"]["interval"]
            _bar(right, row["difference"]["value"], bounds, place, colour, 100.0)
    for axes in (left, right):
        open_axes(axes)
        axes.grid(False, axis="y")
    right.axvline(0, color=theme.faint, linewidth=1, linestyle="--")
    left.set_yticks(range(len(rows)), [plain(row["setting"]) for row in rows])
    left.set_ylim(len(rows) - 0.4, -0.6)
    left.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    left.set_title("Accuracy, mean ± 95 %")
    right.set_title("Difference, points")
    seeds = Line2D(
        [], [], marker="o", linestyle="", color=theme.faint, alpha=0.6, markersize=5, label="one seed"
    )
    left.legend(handles=[seeds], frameon=False, fontsize=8, loc="best")
    return figure


def _bar(
    axes: Any, value: float, interval: list[float | None] | None, place: int, colour: str, scale: float
) -> None:
    if interval and all(bound is not None and np.isfinite(bound) for bound in interval):
        axes.plot([scale * (bound or 0.0) for bound in interval], [place, place], color=colour, linewidth=2)
    axes.plot(scale * value, place, "D", color=colour, markersize=6)
