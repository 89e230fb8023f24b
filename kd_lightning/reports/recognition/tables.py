"""The tables of speech recognition."""

from collections.abc import Mapping, Sequence
from typing import Any

from kd_lightning.reports.formats import UNKNOWN, count, percent, plain, points, shortened
from kd_lightning.reports.groups import lost_pair
from kd_lightning.reports.table import Table


def quality(comparison: Mapping[str, Any]) -> Table:
    """What each stage's network recognises, and the share of keywords that a shared encoder spots."""
    heads = {"wer": "WER % [95 %]", "cer": "CER % [95 %]"}
    if any("accuracy" in row["metrics"] for row in comparison["rows"]):
        heads["accuracy"] = "keywords % [95 %]"
    return Table(
        "Quality",
        ["stage", "network", *heads.values()],
        [
            [
                row["stage"],
                plain(row["network"] or UNKNOWN),
                *(percent(row["metrics"].get(key), row["intervals"].get(key)) for key in heads),
            ]
            for row in comparison["rows"]
        ],
        "Errors per word and per character of the reference, lower is better"
        + ("; keywords that are right, higher is better" if "accuracy" in heads else "")
        + ". Intervals are bootstrapped over speakers.",
    )


def errors(comparison: Mapping[str, Any]) -> Table:
    """What kinds of errors each network makes, and how near it is to the teacher."""
    return Table(
        "Errors, and agreement with the teacher",
        ["stage", "substituted", "deleted", "inserted", "same as teacher [95 %]", "WER to teacher [95 %]"],
        [
            [
                row["stage"],
                *(percent(row["metrics"].get(key)) for key in ("substitutions", "deletions", "insertions")),
                *(
                    percent(row["metrics"].get(key), row["intervals"].get(key))
                    for key in ("agreement", "wer_to_teacher")
                ),
            ]
            for row in comparison["rows"]
        ],
        "All in %. Substituted, deleted and inserted words per word of the reference; utterances with the same output "
        "as the teacher; WER with the teacher's output as reference.",
    )


def by_noise(comparison: Mapping[str, Any]) -> Table:
    """WER of every stage by noise level."""
    return _groups(comparison, "noise", "noise", "WER by noise level, %", "signal to noise")


def by_length(comparison: Mapping[str, Any]) -> Table:
    """WER of every stage by length of the utterance."""
    return _groups(comparison, "lengths", "length", "WER by length of the utterance, %", "length")


def by_speaker(comparison: Mapping[str, Any]) -> Table:
    """WER of every stage on the speakers who cost the last student most."""
    caption = "Ranked by errors beyond the average of as many words, so that one short utterance is no worst speaker."
    return _groups(comparison, "speakers", "speaker", "Worst speakers, WER in %", "speaker", caption)


def lost_words(comparison: Mapping[str, Any]) -> Table:
    """The words that the last student has wrong more often than the teacher, most lost first."""
    stages = list(comparison["lost"][0]["errors"])
    student = stages[-1]
    return Table(
        "Words that the student lost",
        ["said", "times", *stages, f"{student} - teacher"],
        [
            [
                plain(one["word"]),
                count(one["times"]),
                *(count(one["errors"][stage]) for stage in stages),
                f"{one['errors'][student] - one['errors']['teacher']:+d}",
            ]
            for one in comparison["lost"]
        ],
        "How often each network has the word wrong or leaves it out.",
    )


def confusions(comparison: Mapping[str, Any], most: int | None = None) -> Table:
    """The words that the last student most often takes for another."""
    return Table(
        "Confused words",
        ["said", "recognised", "times", "% of the word", "teacher too"],
        [
            [plain(one["reference"]), plain(one["output"]), *_counts(one, "times", "share", "teacher_times")]
            for one in comparison["confusions"][:most]
        ],
    )


def deleted(comparison: Mapping[str, Any]) -> Table:
    """The words that the last student most often leaves out."""
    return Table(
        "Words left out",
        ["said", "times", "% of the word", "teacher too"],
        [
            [plain(one["reference"]), *_counts(one, "times", "share", "teacher_times")]
            for one in comparison["deleted"]
        ],
    )


def inserted(comparison: Mapping[str, Any]) -> Table:
    """The words that the last student most often adds."""
    return Table(
        "Words added",
        ["recognised", "times", "teacher too"],
        [[plain(one["output"]), *_counts(one, "times", "teacher_times")] for one in comparison["inserted"]],
    )


def _groups(
    comparison: Mapping[str, Any], part: str, key: str, title: str, head: str, caption: str = ""
) -> Table:
    stages = [row["stage"] for row in comparison["rows"]]
    pair = lost_pair(stages)
    return Table(
        title,
        [head, "cuts", "words", *stages, *([f"{pair[0]} - {pair[1]}"] if pair else [])],
        [
            [
                shortened(group[key]),
                count(group["cuts"]),
                count(group["words"]),
                *(percent(group["wer"].get(stage)) for stage in stages),
                *([points(group["wer"][pair[0]] - group["wer"][pair[1]])] if pair else []),
            ]
            for group in comparison[part]
        ],
        caption,
    )


def _counts(one: Mapping[str, Any], *keys: str) -> Sequence[str]:
    return [percent(one[key]) if key == "share" else count(one[key]) for key in keys]
