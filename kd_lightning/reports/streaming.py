"""How a spotter behaves in use, as ``evaluate streaming=true`` found it: streaming.json, its table and DET plot."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy.special import ndtr, ndtri

from kd_lightning.metrics.streaming import OperatingPoint, Sweep, det_curve, operating_point
from kd_lightning.reports.formats import UNKNOWN, count, plain
from kd_lightning.reports.runs import Run, number, pairs, text, texts, whole
from kd_lightning.reports.table import Table
from kd_lightning.reports.theme import Theme, new_figure, open_axes

MISS_RATES = (0.02, 0.05, 0.10)
# Of these the delay is shown.
SHOWN_DELAY = 0.05
WHITE_NOISE = "white noise"
_TICKS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)


def streaming_results(
    swept: Sweep, keywords: Sequence[str], audio: dict[str, Any], detector: dict[str, float]
) -> dict[str, Any]:
    """What streaming.json holds.

    Args:
        swept: what the detector did.
        keywords: their names, in the order of the sweep.
        audio: how the audio was made, plain values: ``minutes``, ``words``, ``background``, ``snr`` and what else
            tells it from other audio.
        detector: its settings.
    """
    points = [operating_point(swept, rate) for rate in MISS_RATES]
    events = swept.counts.together().events
    misses, alarms = det_curve(swept)
    notes = [
        note for point in points for note in _out_of_reach(point, keywords, events.tolist(), audio["minutes"])
    ]
    if audio["background"] == WHITE_NOISE:
        notes.append("the corpus has no background noise to test with: the background is white noise")
    return {
        "audio": audio,
        "detector": detector,
        "events": int(events.sum()),
        "operating_points": [
            {
                "miss_rate": point.miss_rate,
                "false_alarms_per_hour": point.false_alarms_per_hour,
                "interval": list(point.interval),
                "delay_seconds": dict(zip(("median", "p95"), point.delay, strict=True)),
            }
            for point in points
        ],
        "keywords": [
            {
                "keyword": keyword,
                "events": int(events[place]),
                "false_alarms_per_hour": [float(point.by_keyword[place]) for point in points],
                "thresholds": [float(point.thresholds[place]) for point in points],
            }
            for place, keyword in enumerate(keywords)
        ],
        "det": {"miss_rate": misses.tolist(), "false_alarms_per_hour": alarms.tolist()},
        "notes": notes,
    }


def streaming_row(stage: str, found: dict[str, Any]) -> dict[str, Any]:
    """What a streaming.json says of a stage, as far as it is numbers."""
    points = found.get("operating_points")
    audio, curve, heard = (found.get(key) for key in ("audio", "det", "keywords"))
    audio, curve = (part if isinstance(part, dict) else {} for part in (audio, curve))
    misses, alarms = (_floats(curve.get(key)) for key in ("miss_rate", "false_alarms_per_hour"))
    length = min(len(misses), len(alarms))
    return {
        "stage": stage,
        "minutes": number(audio, "minutes"),
        "background": text(audio, "background"),
        "snr": _floats(audio.get("snr")),
        "words": whole(audio, "words"),
        "events": whole(found, "events"),
        "keywords": len(heard) if isinstance(heard, list) else None,
        "operating_points": [
            {
                "miss_rate": number(point, "miss_rate"),
                "false_alarms_per_hour": number(point, "false_alarms_per_hour"),
                "interval": pairs(point).get("interval"),
                "delay_seconds": {key: number(point, "delay_seconds", key) for key in ("median", "p95")},
            }
            for point in (points if isinstance(points, list) else [])
        ],
        "det": {"miss_rate": misses[:length], "false_alarms_per_hour": alarms[:length]},
    }


def streaming_notes(runs: dict[str, Run]) -> list[str]:
    """What was said while listening, and whether the stages heard the same."""
    listened = {stage: run.streaming for stage, run in runs.items() if run.streaming}
    notes = [f"{stage}: {note}" for stage, found in listened.items() for note in texts(found.get("notes"))]
    heard = [
        [found.get(key) for key in ("audio", "detector")] + [_names(found)] for found in listened.values()
    ]
    if any(one != heard[0] for one in heard):
        notes.append(
            f"{', '.join(listened)} did not listen to the same audio for the same keywords with the same detector: "
            "their false alarms do not compare."
        )
    return notes


def streaming_table(rows: Sequence[dict[str, Any]]) -> Table:
    """A row a stage: false alarms per hour at each miss rate, and how late it fires."""
    table = []
    for row in rows:
        points = {point["miss_rate"]: point for point in row["operating_points"]}
        delay = points.get(SHOWN_DELAY, {}).get("delay_seconds", {})
        table.append(
            [
                row["stage"],
                *(_alarms(points.get(rate, {})) for rate in MISS_RATES),
                " / ".join(_seconds(delay.get(key)) for key in ("median", "p95")),
            ]
        )
    return Table(
        "In use",
        ["stage", *(f"{rate:.0%} missed".replace("%", " %") for rate in MISS_RATES), "delay s median / p95"],
        table,
        "False alarms per hour and keyword where at most so many are missed [95 %, minutes resampled], each keyword at "
        f"its own threshold, without interpolation. Delay from the word's end to its detection, at "
        f"{100 * SHOWN_DELAY:.0f} % missed.",
    )


def listened_to(row: dict[str, Any]) -> str:
    """What one stage listened to, in one sentence."""
    levels = ", ".join(f"{level:g}" for level in row["snr"]) or UNKNOWN
    return (
        f"{_plain_number(row['minutes'])} min of audio made of the test split: {count(row['words'])} words in "
        f"{plain(row['background'] or UNKNOWN)} at {levels} dB, {count(row['events'])} of them events of "
        f"{count(row['keywords'])} keywords; to each keyword every other word is a non-target. Words come far more "
        "densely than in a room: compare networks, not products."
    )


def det_curves(rows: Sequence[dict[str, Any]], theme: Theme) -> Figure:
    """Miss rate over false alarms per hour, a curve a stage; normal deviates over a logarithm (DET).

    Martin et al., "The DET curve in assessment of detection task performance", 1997, whose false alarm axis becomes a
    rate over time. A curve steps from one miss rate to the next, and ends where there are no false alarms any more.
    """
    figure = new_figure(7.2, 4.4)
    axes = open_axes(figure.subplots())
    axes.set_xscale("log")
    axes.set_yscale("function", functions=(lambda rate: ndtri(np.clip(rate, 1e-4, 1 - 1e-4)), ndtr))
    drawn: list[float] = []
    for row in rows:
        alarms, misses = (np.array(row["det"][key]) for key in ("false_alarms_per_hour", "miss_rate"))
        seen = (alarms > 0) & (misses > 0) & (misses < 1)
        colour = theme.colour(row["stage"])
        axes.plot(
            alarms[seen], misses[seen], color=colour, linewidth=1.8, label=plain(row["stage"]),
            drawstyle="steps-pre",
        )  # fmt: skip
        drawn += misses[seen].tolist()
        for point in row["operating_points"]:
            rate, bounds = point["false_alarms_per_hour"], point["interval"]
            if rate and point["miss_rate"]:
                axes.plot(rate, point["miss_rate"], "o", color=colour, markersize=5)
                if bounds and bounds[0] > 0:
                    axes.plot(bounds, [point["miss_rate"]] * 2, color=colour, linewidth=1, alpha=0.6)
    low, high = (min(drawn), min(0.8, max(drawn))) if drawn else (0.01, 0.5)
    axes.set_ylim(min(low, MISS_RATES[0]) * 0.8, max(high, 0.2))
    axes.yaxis.set_major_locator(FixedLocator(_TICKS))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g} %"))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.set(
        title="Detection error trade-off",
        xlabel="false alarms per hour and keyword (log)",
        ylabel="missed (normal deviates)",
    )
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize=9)
    return figure


def _out_of_reach(
    point: OperatingPoint, keywords: Sequence[str], events: list[int], minutes: float
) -> list[str]:
    """Why there is no operating point, if there is none."""
    few = [word for word, said in zip(keywords, events, strict=True) if said * point.miss_rate < 1 - 1e-9]
    others = [
        word
        for word, rate in zip(keywords, point.by_keyword, strict=True)
        if np.isnan(rate) and word not in few
    ]
    needed, notes = round(1 / point.miss_rate), []
    if few:
        enough = int(np.ceil(minutes * needed / max(1, min(events))))
        notes.append(
            f"{100 * point.miss_rate:g} % missed needs {needed} events of a keyword, and {_some(few)} had fewer "
            f"(the rarest {min(events)}): set minutes={enough} or more"
        )
    if others:
        notes.append(f"{_some(others)} missed more than {100 * point.miss_rate:g} % at every threshold")
    return notes


def _some(words: list[str], most: int = 5) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def _names(found: dict[str, Any]) -> list[str | None]:
    heard = found.get("keywords")
    return [text(one, "keyword") for one in heard] if isinstance(heard, list) else []


def _floats(values: object) -> list[float]:
    """The values of a list up to the first that is no finite number."""
    kept: list[float] = []
    for value in values if isinstance(values, list) else []:
        found = number({"": value}, "")
        if found is None:
            break
        kept.append(found)
    return kept


def _alarms(point: dict[str, Any]) -> str:
    value, interval = point.get("false_alarms_per_hour"), point.get("interval")
    if value is None:
        return UNKNOWN
    return _plain_number(value) + (
        f" [{_plain_number(interval[0])}, {_plain_number(interval[1])}]" if interval else ""
    )


def _plain_number(value: float | None) -> str:
    """Two figures below a hundred, whole above."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.2g}"


def _seconds(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"
