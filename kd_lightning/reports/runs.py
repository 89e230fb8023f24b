"""Read the files of a run; they may be missing, half written, corrupt, or someone else's.

Nothing is taken on trust: a number is finite or absent, text is text, and what cannot be read is named.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

STAGES = ("teacher", "assistant", "baseline", "distill", "finetune")


class UnreadableRun(ValueError):
    """A run without usable results; the message names the file."""


class Predictions(NamedTuple):
    """What a network said of each test cut, one row a cut."""

    cuts: NDArray[np.object_]
    references: NDArray[np.object_]
    outputs: NDArray[np.object_]
    scores: NDArray[np.float64]  # probability of the output, NaN unknown
    speakers: NDArray[np.object_]
    snr: NDArray[np.float64]  # dB, infinite when clean, NaN unknown
    seconds: NDArray[np.float64]  # of audio, NaN unknown
    measured: dict[str, NDArray[np.float64]]  # metrics of each cut by key, NaN unknown

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether each output is the reference, (N,)."""
        return np.asarray(self.outputs == self.references, dtype=bool)


class Curve(NamedTuple):
    """One logged value over training."""

    steps: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Run:
    """One finished stage."""

    folder: Path
    stage: str
    config: dict[str, Any]
    results: dict[str, Any]
    predictions: Predictions
    curves: dict[str, Curve]
    exports: list[dict[str, Any]]
    notes: list[str]
    streaming: dict[str, Any] = field(default_factory=dict)  # streaming.json, where there is one


def number(holder: object, *keys: str) -> float | None:
    """The finite number at nested keys, else None."""
    for key in keys:
        holder = holder.get(key) if isinstance(holder, Mapping) else None
    if isinstance(holder, bool) or not isinstance(holder, int | float):
        return None
    try:
        return float(holder) if math.isfinite(holder) else None
    except OverflowError:
        return None


def whole(holder: object, *keys: str) -> int | None:
    """The number at nested keys as an integer: counts, bytes, seeds."""
    found = number(holder, *keys)
    return None if found is None else round(found)


def numbers(holder: object) -> dict[str, float]:
    """The finite numbers of a flat mapping."""
    found = {str(key): number(holder, key) for key in holder} if isinstance(holder, Mapping) else {}
    return {key: value for key, value in found.items() if value is not None}


def pairs(holder: object) -> dict[str, list[float]]:
    """The intervals `{key: [low, high]}` of a mapping."""
    found = {}
    for key, pair in holder.items() if isinstance(holder, Mapping) else ():
        if isinstance(pair, list) and len(pair) == 2:
            low, high = number({"": pair[0]}, ""), number({"": pair[1]}, "")
            if low is not None and high is not None:
                found[str(key)] = [low, high]
    return found


def text(holder: object, *keys: str) -> str | None:
    """The string at nested keys, else None."""
    for key in keys:
        holder = holder.get(key) if isinstance(holder, Mapping) else None
    return holder if isinstance(holder, str) else None


def texts(holder: object) -> list[str]:
    """The strings of a list; anything else is no text."""
    return [item for item in holder if isinstance(item, str)] if isinstance(holder, list) else []


def read_mapping(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        UnreadableRun: when the file is missing, cut off, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnreadableRun(f"{_short(path)} is missing: has the stage finished?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableRun(f"{_short(path)} cannot be read: {error}") from None
    if not isinstance(content, dict):
        raise UnreadableRun(f"{_short(path)} holds {type(content).__name__}, not an object")
    return content


def read_results(folder: Path) -> dict[str, Any]:
    """The metrics.json of a run, with at least one metric.

    Raises:
        UnreadableRun: when there is none.
    """
    results = read_mapping(folder / "metrics.json")
    if not numbers(results.get("metrics")):
        raise UnreadableRun(f"{_short(folder / 'metrics.json')} holds no metrics")
    return results


def read_predictions(path: Path) -> Predictions:
    """The predictions.jsonl of a run.

    Raises:
        UnreadableRun: when it is missing or empty, a line is not a prediction, or a cut comes twice.
    """
    rows = []
    try:
        with path.open(encoding="utf-8") as lines:
            for count, line in enumerate(lines, start=1):
                try:
                    rows.append(_prediction(json.loads(line)))
                except (ValueError, RecursionError) as error:
                    raise UnreadableRun(
                        f"{_short(path)}, line {count} is not a prediction: {error}"
                    ) from None
    except FileNotFoundError:
        raise UnreadableRun(f"{_short(path)} is missing: has the stage finished?") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableRun(f"{_short(path)} cannot be read: {error}") from None
    if not rows:
        raise UnreadableRun(f"{_short(path)} is empty")
    seen: set[str] = set()
    for row in rows:
        if row[0] in seen:
            raise UnreadableRun(f"{_short(path)} holds the cut {row[0]!r} twice")
        seen.add(row[0])
    cuts, references, outputs, scores, speakers, snr, seconds, measured = zip(*rows, strict=True)
    keys = sorted(set().union(*measured))
    return Predictions(
        np.array(cuts, dtype=object),
        np.array(references, dtype=object),
        np.array(outputs, dtype=object),
        np.array(scores, dtype=np.float64),
        np.array(speakers, dtype=object),
        np.array(snr, dtype=np.float64),
        np.array(seconds, dtype=np.float64),
        {key: np.array([one.get(key, math.nan) for one in measured], dtype=np.float64) for key in keys},
    )


def read_run(folder: Path, stage: str) -> Run:
    """One finished stage.

    Args:
        folder: the run folder.
        stage: its name in the report.

    Raises:
        UnreadableRun: when metrics.json or predictions.jsonl cannot be used. Every other file may be missing,
            and becomes a note when it cannot be read.
    """
    results = read_results(folder)
    predictions = read_predictions(folder / "predictions.jsonl")
    notes: list[str] = []
    config: dict[str, Any] = {}
    try:
        config = read_mapping(folder / "config.json")
    except UnreadableRun as error:
        notes.append(str(error))
    curves, dropped = read_curves(folder / "curves.csv")
    if dropped:
        notes.append(f"{_short(folder / 'curves.csv')}: {dropped} lines could not be read")
    exports = []
    for path in sorted(folder.glob("deploy/*.json")):
        try:
            exports.append(read_mapping(path))
        except UnreadableRun as error:
            notes.append(str(error))
    streaming: dict[str, Any] = {}
    if (folder / "streaming.json").exists():
        try:
            streaming = read_mapping(folder / "streaming.json")
        except UnreadableRun as error:
            notes.append(str(error))
    return Run(folder, stage, config, results, predictions, curves, exports, notes, streaming)


def read_curves(path: Path) -> tuple[dict[str, Curve], int]:
    """The learning curves `step,key,value` by key, and how many lines could not be read."""
    points: dict[str, list[tuple[float, float]]] = {}
    dropped = 0
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}, 0
    except (OSError, UnicodeDecodeError):
        return {}, 1
    for line in lines:
        if line.strip() in ("", "step,key,value"):
            continue
        step, _, rest = line.partition(",")
        key, _, value = rest.rpartition(",")
        try:
            point = float(step), float(value)
        except ValueError:
            dropped += 1
            continue
        if key and all(map(math.isfinite, point)):
            points.setdefault(key, []).append(point)
        else:
            dropped += 1
    return {key: Curve(*np.array(sorted(values)).T) for key, values in points.items()}, dropped


def _prediction(row: object) -> tuple[str, str, str, float, str, float, float, dict[str, float]]:
    named = [text(row, key) for key in ("cut", "reference", "output", "speaker")]
    if any(item is None for item in named) or not isinstance(row, dict):
        raise ValueError('it needs text under "cut", "reference", "output" and "speaker"')
    cut, reference, output, speaker = (str(item) for item in named)
    score, snr, seconds = number(row, "score"), row.get("snr"), number(row, "seconds")
    snr = float(snr) if isinstance(snr, int | float) and not isinstance(snr, bool) else math.nan
    unknown = math.nan
    return (
        cut,
        reference,
        output,
        unknown if score is None else score,
        speaker,
        snr,
        unknown if seconds is None else seconds,
        numbers(row.get("metrics")),
    )


def _short(path: Path) -> str:
    """The last two parts of a path: enough to find a file of a run."""
    return "/".join(path.parts[-2:])
