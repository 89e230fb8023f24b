"""The tables of keyword spotting."""

from collections.abc import Mapping
from typing import Any

from kd_lightning.reports.formats import UNKNOWN, count, percent, plain, points, shortened
from kd_lightning.reports.groups import lost_pair
from kd_lightning.reports.table import Table


def quality(comparison: Mapping[str, Any]) -> Table:
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


def noise(comparison: Mapping[str, Any]) -> Table:
    """Accuracy of every stage by noise level."""
    stages = [row["stage"] for row in comparison["rows"]]
    pair = lost_pair(stages)
    return Table(
        "Accuracy by noise level, %",
        ["signal to noise", "cuts", *stages, *([f"{pair[0]} - {pair[1]}"] if pair else [])],
        [
            [
                level["noise"],
                count(level["cuts"]),
                *(percent(level["accuracy"].get(stage)) for stage in stages),
                *([points(level["accuracy"][pair[0]] - level["accuracy"][pair[1]])] if pair else []),
            ]
            for level in comparison["noise"]
        ],
    )


def flips_by_noise(found: Mapping[str, Any]) -> Table:
    """Lost and gained cuts of one pair of networks by noise level."""
    return _flips(found, "by_noise", "noise", "signal to noise", len(found["by_noise"]))


def flips_by_word(found: Mapping[str, Any], most: int = 20) -> Table:
    """Lost and gained cuts of one pair of networks, the words that changed most."""
    return _flips(found, "by_word", "word", "word", most)


def flips_by_speaker(found: Mapping[str, Any]) -> Table:
    """Lost and gained cuts of one pair of networks, the speakers of most lost cuts."""
    return _flips(found, "by_speaker", "speaker", "speaker", len(found["by_speaker"]))


def confusions(comparison: Mapping[str, Any]) -> Table:
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


def _flips(found: Mapping[str, Any], key: str, kind: str, head: str, most: int) -> Table:
    rows = found[key]
    if len(rows) > most:
        rows = sorted(rows, key=lambda row: (-(row["lost"] + row["gained"]), row[kind]))[:most]
    return Table(
        f"{found['from']} → {found['to']}",
        [head, "cuts", "lost", "gained", "net"],
        [
            [
                shortened(row[kind]),
                count(row["cuts"]),
                count(row["lost"]),
                count(row["gained"]),
                f"{row['gained'] - row['lost']:+d}",
            ]
            for row in rows
        ],
    )
