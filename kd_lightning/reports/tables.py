"""The tables and sentences of a comparison, once for the terminal, Markdown and the page."""

from collections.abc import Mapping
from typing import Any

from kd_lightning.reports.formats import (
    UNKNOWN,
    count,
    heading,
    magnitude,
    milliseconds,
    percent,
    plain,
    ratio,
    seconds,
    size,
)
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.runs import Run
from kd_lightning.reports.table import Table


def recipe(runs: Mapping[str, Run]) -> Table:
    """How each stage was trained; batches are in items, or in seconds where these were filled up."""
    return Table(
        "Stages",
        ["stage", "network", "params", "labels %", "learns from", "epochs", "batch", "learning rate"],
        [
            [
                stage,
                run.results["network"],
                count(run.results["params"]),
                percent(run.config["corpus"]["labelled_fraction"]),
                " + ".join(
                    [*run.config["distiller"]["terms"], *((run.config["transfer"] or {}).get("terms") or {})]
                ),
                str(run.config["trainer"]["max_epochs"]),
                _batch(run.config["corpus"]),
                f"{run.config['optimizer']['lr']:.3g}",
            ]
            for stage, run in runs.items()
        ],
    )


def _batch(corpus: Mapping[str, Any]) -> str:
    return f"{corpus['batch_seconds']:g} s" if "batch_seconds" in corpus else str(corpus["batch_size"])


def quality(comparison: dict[str, Any]) -> Table:
    """How good each stage's network is."""
    return task_of(comparison["task"]).quality(comparison)


def cost(comparison: dict[str, Any]) -> Table:
    """What each stage's network costs to run and to train."""
    head, key = task_of(comparison["task"]).macs
    lengths = sorted({row["clip_seconds"] for row in comparison["rows"] if row["clip_seconds"]})
    utterance = " or ".join(f"{length:.3g} s" for length in lengths)
    return Table(
        "Cost",
        [
            "stage",
            "params",
            head,
            "size",
            "ms p50 / p95",
            "RTF",
            "labels %",
            "steps",
            "trained",
        ],
        [
            [
                row["stage"],
                count(row["params"]),
                magnitude(row[key]),
                size(row["size_bytes"]),
                milliseconds(row["latency_ms"]["p50"], row["latency_ms"]["p95"]),
                ratio(row["real_time_factor"]),
                percent(row["labelled_fraction"]),
                count(row["steps"]),
                seconds(row["train_seconds"]),
            ]
            for row in comparison["rows"]
        ],
        f"One utterance{' of ' + utterance if utterance else ''} on one thread; RTF is the real-time factor. MACs are "
        "those of convolutions and matrix products.",
    )


def exports(comparison: dict[str, Any]) -> Table:
    """The deployed files, scored again after export."""
    task = task_of(comparison["task"])
    return Table(
        "Exports",
        [
            "stage",
            "format",
            f"{task.main.head(task.called)} [95 %]",
            "size",
            "ms p50 / p95",
            "RTF",
            "max |Δ|",
        ],
        [
            [
                export["stage"],
                plain(" ".join(part for part in (export["format"], export["precision"]) if part) or UNKNOWN),
                task.main.written(export["metrics"].get(task.metric), export["intervals"].get(task.metric)),
                size(export["size_bytes"]),
                milliseconds(export["latency_ms"]["p50"], export["latency_ms"]["p95"]),
                ratio(export["real_time_factor"]),
                UNKNOWN if export["max_abs_difference"] is None else f"{export['max_abs_difference']:.1e}",
            ]
            for export in comparison["exports"]
        ],
        "max |Δ| is the largest difference of an output to PyTorch's.",
    )


def differences(comparison: dict[str, Any]) -> Table:
    """Paired differences in the task's metric."""
    task = task_of(comparison["task"])
    direction = f"{heading(task.direction)}. " if task.direction else ""
    resampled = task.resampled(comparison["corpus"]["test_speakers"])
    return Table(
        f"Differences in {task.called}",
        ["difference", f"{task.main.differences} [95 %]", "beyond chance"],
        [
            [
                f"{found['stage']} - {found['minus']}",
                task.main.signed(found["value"], found["interval"]),
                "yes" if found["excludes_zero"] else "no",
            ]
            for found in comparison["differences"]
        ],
        f"{direction}Paired by cut, bootstrapped over {resampled}; one training seed each, so seeds add to these "
        "intervals.",
    )


def headline(comparison: dict[str, Any]) -> str:
    """The gap recovered in one sentence, or why it is not stated."""
    if comparison["gap_recovered"] is None:
        return "Gap recovered: not stated (see the notes)."
    bounds = [f"{100 * bound:.0f}" for bound in comparison["gap_recovered_interval"]]
    share = f"{100 * comparison['gap_recovered']:.0f} % [{', '.join(bounds)}]"
    return f"Gap recovered: {share} of teacher - baseline."


def sentences(comparison: dict[str, Any]) -> list[str]:
    """What the numbers mean, in words: the differences that matter, and what the student lost."""
    task = task_of(comparison["task"])
    direction = f" ({task.direction})" if task.direction else ""
    rows = {row["stage"]: row for row in comparison["rows"]}
    said = []
    for found in comparison["differences"]:
        if found["minus"] == "baseline" and found["stage"] != "teacher":
            more = f"{task.main.signed(found['value'], found['interval'])} {task.main.differences}"
            chance = "" if found["excludes_zero"] else "; the interval includes zero"
            said.append(f"{found['stage']} - baseline: {more} of {task.called}{direction}{chance}.")
    small, large = rows.get("finetune") or rows.get("distill"), rows.get("teacher")
    if small and large and small["params"] and large["params"]:
        fewer = large["params"] / small["params"]
        said.append(f"The student has {fewer:.3g} times fewer parameters than the teacher.")
    return said + task.sentences(comparison)


def setting(comparison: dict[str, Any]) -> str:
    """Corpus, labels and test set in one line."""
    corpus, task = comparison["corpus"], task_of(comparison["task"])
    made = " (embedded, synthetic speech)" if corpus["embedded"] else ""
    parts = [plain(corpus["name"] or "unknown corpus") + made]
    parts += task.inventory(corpus)
    if corpus["labelled_fraction"] is not None:
        parts.append(f"students see {100 * corpus['labelled_fraction']:.3g} % of the {task.labels}")
    speakers = "one speaker" if corpus["test_speakers"] == 1 else f"{count(corpus['test_speakers'])} speakers"
    parts.append(f"{count(corpus['test_cuts'])} test cuts of {speakers}")
    return " · ".join(parts)


def stage_notes(comparison: dict[str, Any]) -> list[str]:
    """The notes of the comparison and of each stage."""
    own = [f"{row['stage']}: {note}" for row in comparison["rows"] for note in row["notes"]]
    return [plain(note) for note in [*comparison["notes"], *own]]
