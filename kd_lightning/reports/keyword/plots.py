"""The plots of keyword spotting: values and a theme in, a figure out."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from kd_lightning.reports.formats import plain
from kd_lightning.reports.runs import Run
from kd_lightning.reports.theme import Theme, new_figure, open_axes

CALIBRATION_BINS = 15


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
