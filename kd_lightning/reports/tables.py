"""The tables of a comparison, once for the terminal, Markdown and the page."""

from typing import Any, NamedTuple

from kd_lightning.reports.formats import (
    UNKNOWN,
    count,
    magnitude,
    milliseconds,
    percent,
    plain,
    points,
    ratio,
    seconds,
    size,
)


class Table(NamedTuple):
    """Cells as text; the first column names the row."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    caption: str = ""


def quality(comparison: dict[str, Any]) -> Table:
    """What each stage's network recognises."""
    return Table(
        "Quality",
        ["stage", "network", "accuracy % [95 %]", "precision", "recall", "F1", "ECE", "agreement"],
        [
            [
                row["stage"],
                plain(row["network"] or UNKNOWN),
                percent(row["metrics"].get("accuracy"), row["intervals"].get("accuracy")),
                *(percent(row["metrics"].get(key)) for key in ("precision", "recall", "f1", "ece")),
                percent(row["metrics"].get("agreement")),
            ]
            for row in comparison["rows"]
        ],
        "All in %. Precision, recall and F1 are macro averages over words; ECE is the expected calibration "
        "error. Intervals are bootstrapped over speakers.",
    )


def cost(comparison: dict[str, Any]) -> Table:
    """What each stage's network costs to run and to train."""
    return Table(
        "Cost",
        [
            "stage",
            "params",
            "MACs",
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
                magnitude(row["macs"]),
                size(row["size_bytes"]),
                milliseconds(row["latency_ms"]["p50"], row["latency_ms"]["p95"]),
                ratio(row["real_time_factor"]),
                percent(row["labelled_fraction"]),
                count(row["steps"]),
                seconds(row["train_seconds"]),
            ]
            for row in comparison["rows"]
        ],
        "One utterance on one thread; RTF is the real-time factor. MACs are those of convolutions and matrix products.",
    )


def exports(comparison: dict[str, Any]) -> Table:
    """The deployed files, scored again after export."""
    return Table(
        "Exports",
        ["stage", "format", "accuracy % [95 %]", "size", "ms p50 / p95", "RTF", "max |Δ|"],
        [
            [
                export["stage"],
                plain(" ".join(part for part in (export["format"], export["precision"]) if part) or UNKNOWN),
                percent(export["metrics"].get("accuracy"), export["intervals"].get("accuracy")),
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
    """Paired differences in accuracy."""
    return Table(
        "Differences in accuracy",
        ["difference", "points [95 %]", "beyond chance"],
        [
            [
                f"{found['stage']} - {found['minus']}",
                points(found["value"], found["interval"]),
                "yes" if found["excludes_zero"] else "no",
            ]
            for found in comparison["differences"]
        ],
        "Paired by cut, bootstrapped over speakers; one training seed each, so seeds add to these intervals.",
    )


def noise(comparison: dict[str, Any]) -> Table:
    """Accuracy of every stage by noise level."""
    stages = [row["stage"] for row in comparison["rows"]]
    return Table(
        "Accuracy by noise level, %",
        ["signal to noise", "cuts", *stages],
        [
            [
                level["noise"],
                count(level["cuts"]),
                *(percent(level["accuracy"].get(stage)) for stage in stages),
            ]
            for level in comparison["noise"]
        ],
    )


def flips_by_noise(found: dict[str, Any]) -> Table:
    """Lost and gained cuts of one pair of networks by noise level."""
    return _flips(found, "by_noise", "noise", "signal to noise", len(found["by_noise"]))


def flips_by_word(found: dict[str, Any], most: int = 20) -> Table:
    """Lost and gained cuts of one pair of networks, the words that changed most."""
    return _flips(found, "by_word", "word", "word", most)


def confusions(comparison: dict[str, Any]) -> Table:
    """The most frequent confusions of the last student."""
    return Table(
        "Worst confusions",
        ["said", "heard", "cuts", "% of the word", "teacher too"],
        [
            [
                plain(one["reference"]),
                plain(one["output"]),
                count(one["cuts"]),
                percent(one["share"]),
                count(one["teacher_cuts"]),
            ]
            for one in comparison["confusions"]
        ],
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
    rows = {row["stage"]: row for row in comparison["rows"]}
    said = []
    for found in comparison["differences"]:
        if found["minus"] == "baseline" and found["stage"] != "teacher":
            more = points(found["value"], found["interval"])
            chance = "" if found["excludes_zero"] else "; the interval includes zero"
            said.append(f"{found['stage']} - baseline: {more} points of accuracy{chance}.")
    small, large = rows.get("finetune") or rows.get("distill"), rows.get("teacher")
    if small and large and small["params"] and large["params"]:
        fewer = large["params"] / small["params"]
        said.append(f"The student has {fewer:.3g} times fewer parameters than the teacher.")
    for found in comparison["flips"]:
        said.append(
            f"{found['from']} → {found['to']}: {count(found['lost'])} of {count(found['cuts'])} cuts lost "
            f"(right before, wrong now), {count(found['gained'])} gained."
        )
    return said


def setting(comparison: dict[str, Any]) -> str:
    """Corpus, labels and test set in one line."""
    corpus = comparison["corpus"]
    made = " (embedded, synthetic speech)" if corpus["embedded"] else ""
    parts = [plain(corpus["name"] or "unknown corpus") + made]
    if corpus["classes"]:
        parts.append(f"{len(corpus['classes'])} classes")
    if corpus["labelled_fraction"] is not None:
        parts.append(f"students see {100 * corpus['labelled_fraction']:.3g} % of the labels")
    parts.append(f"{count(corpus['test_cuts'])} test cuts of {count(corpus['test_speakers'])} speakers")
    return " · ".join(parts)


def stage_notes(comparison: dict[str, Any]) -> list[str]:
    """The notes of the comparison and of each stage."""
    own = [f"{row['stage']}: {note}" for row in comparison["rows"] for note in row["notes"]]
    return [plain(note) for note in [*comparison["notes"], *own]]


def _flips(found: dict[str, Any], key: str, kind: str, head: str, most: int) -> Table:
    rows = found[key]
    if len(rows) > most:
        rows = sorted(rows, key=lambda row: (-(row["lost"] + row["gained"]), row[kind]))[:most]
    return Table(
        f"{found['from']} → {found['to']}",
        [head, "cuts", "lost", "gained", "net"],
        [
            [
                plain(row[kind]),
                count(row["cuts"]),
                count(row["lost"]),
                count(row["gained"]),
                f"{row['gained'] - row['lost']:+d}",
            ]
            for row in rows
        ],
    )
