"""The tables of a sweep, once for the terminal, Markdown and the page."""

from collections.abc import Sequence
from typing import Any

from kd_lightning.reports.formats import UNKNOWN, count, magnitude, milliseconds, plain, size
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.pareto import COSTS
from kd_lightning.reports.settings import REFERENCE
from kd_lightning.reports.table import Table

# Of a value in a column of its own; the end of a path tells it apart.
LONGEST_VALUE = 28
CHOOSE = "Choose by validation; the test column says what the choice is then worth, and flatters whoever chooses by it."
AGAIN = "Start the same command again: it goes on with what is unfinished, tries again what failed, skips the rest."
TRIALS = "Trials of a wandb sweep: no agent starts one of them again, it goes on with others."


def settings(sweep: dict[str, Any], apart: bool = False) -> Table:
    """One row a setting.

    Args:
        sweep: from ``compare_settings``.
        apart: a column a swept key, to sort by, where there is room for them; else one for the whole setting.
    """
    task = task_of(sweep["task"])
    direction = f", {task.direction}" if task.direction else ""
    heads, names = _named(sweep, sweep["rows"], apart)
    cut_off = any(row["unfinished"] for row in sweep["rows"])
    validated = sweep["validated"]
    return Table(
        "Settings, best by validation first" if validated else "Settings",
        [
            *heads,
            *([f"validation {task.main.name}".rstrip()] if validated else []),
            f"{_tested(sweep)} [95 %]",
            *task.others.values(),
            f"{task.main.differences} over {REFERENCE} [95 %]{direction}",
            "seeds / tried" if cut_off else "seeds",
        ],
        [
            [
                *name,
                *([task.main.written(row["validation"])] if validated else []),
                task.main.written(row["metrics"].get(task.metric), row["intervals"].get(task.metric)),
                *(task.unit(key).written(row["metrics"].get(key)) for key in task.others),
                task.main.signed(row["difference"]["value"], row["difference"]["interval"])
                if row["difference"]
                else "",
                count(len(row["seeds"]))
                + (f" / {count(len(row['seeds']) + len(row['unfinished']))}" if cut_off else ""),
            ]
            for row, name in zip(sweep["rows"], names, strict=True)
        ],
        "Mean over seeds with Student's t interval. Equal seeds are paired, others compared by Welch's."
        + (f" {CHOOSE}" if validated else ""),
    )


def best(sweep: dict[str, Any]) -> list[str]:
    """Which setting is best on validation, and what it is worth on the test set; several where they are equal."""
    if not sweep["validated"]:
        return []
    task, first = task_of(sweep["task"]), sweep["rows"][0]["validation"]
    unit, metric = task.main, task.metric
    return [
        f"Best by validation: {plain(row['setting'])}, {unit.head(task.called)} {unit.written(first)}; on the test set "
        f"the choice is worth {unit.written(row['metrics'].get(metric), row['intervals'].get(metric))}."
        for row in sweep["rows"]
        if row["validation"] == first
    ]


def _tested(sweep: dict[str, Any]) -> str:
    """The head of the metric, which says that it is the test set's where another column is validation's."""
    task = task_of(sweep["task"])
    return f"test {task.main.head(task.called)}" if sweep["validated"] else task.main.head(task.called)


def over_speakers(sweep: dict[str, Any]) -> Table:
    """The same means, with intervals that hold for other speakers too."""
    task = task_of(sweep["task"])
    metric = task.metric
    rows = [row for row in sweep["rows"] if row["seeds"]]
    heads, names = _named(sweep, rows, apart=True)
    return Table(
        "For other speakers",
        [
            *heads,
            f"{_tested(sweep)} [95 %]",
            f"{task.main.differences} over {REFERENCE} [95 %]",
        ],
        [
            [
                *name,
                task.main.written(row["metrics"].get(metric), row["over_speakers"]),
                task.main.signed(row["difference"]["value"], row["difference"]["over_speakers"])
                if row["difference"]
                else "",
            ]
            for row, name in zip(rows, names, strict=True)
        ],
        "Seeds and test speakers resampled together (pigeonhole bootstrap, Owen 2007; cuts, where there are fewer than "
        "five speakers): another test set would have other speakers. Of one seed, over speakers alone.",
    )


def front(sweep: dict[str, Any], apart: bool = False) -> Table:
    """The settings that no other beats at their cost or below, the smallest first, numbered as in the plots.

    Args:
        sweep: from ``compare_settings``.
        apart: as for ``settings``; then there is room for validation too.
    """
    task = task_of(sweep["task"])
    rows, validated = on_front(sweep), apart and sweep["validated"]
    heads, names = _named(sweep, rows, apart)
    return Table(
        "Pareto front",
        [
            *heads,
            *([f"validation {task.main.name}".rstrip()] if validated else []),
            f"{_tested(sweep)} [95 %]",
            "size",
            "MACs",
            "latency ms p50 / p95",
            "best by",
        ],
        [
            [
                f"{place}. {name[0]}",
                *name[1:],
                *([task.main.written(row["validation"])] if validated else []),
                task.main.written(row["metrics"].get(task.metric), row["intervals"].get(task.metric)),
                size(row["size_bytes"]),
                magnitude(row["macs"]),
                milliseconds(row["latency_ms"]["p50"], row["latency_ms"]["p95"]),
                ", ".join(COSTS[cost] for cost in row["front"]),
            ]
            for place, (row, name) in enumerate(zip(rows, names, strict=True), start=1)
        ],
        "Nothing that costs as little is better, by means over the test set: where intervals overlap, the cheaper one "
        "may be as good. Latency is the median over all runs of a network."
        + (f" {CHOOSE}" if sweep["validated"] else ""),
    )


def _named(
    sweep: dict[str, Any], rows: Sequence[dict[str, Any]], apart: bool
) -> tuple[list[str], list[list[str]]]:
    """The heads of the columns that name settings, and what stands in them."""
    own = [[word for word in row["overrides"] if word not in sweep["common"]] for row in sweep["rows"]]
    keys = list(dict.fromkeys(word.partition("=")[0] for words in own for word in words))
    if not apart or not keys:
        return ["setting"], [[plain(row["setting"])] for row in rows]
    told = [dict(word.partition("=")[::2] for word in row["overrides"]) for row in rows]
    return [plain(key) for key in keys], [[_ending(words.get(key, "")) for key in keys] for words in told]


def _ending(value: str) -> str:
    shown = plain(value)
    return shown if len(shown) <= LONGEST_VALUE else "\N{HORIZONTAL ELLIPSIS}" + shown[1 - LONGEST_VALUE :]


def on_front(sweep: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of the Pareto fronts, the smallest first."""
    rows = [row for row in sweep["rows"] if row["front"]]
    return sorted(rows, key=lambda row: (row["size_bytes"] or 0, row["latency_ms"]["p50"] or 0.0))


def keys(sweep: dict[str, Any]) -> Table:
    """What each swept key explains, the most important first."""
    task = task_of(sweep["task"])
    found = sweep["importance"]
    rows = [
        [
            plain(key["key"]),
            count(key["values"]),
            UNKNOWN if key["share"] is None else f"{100 * key['share']:.1f}",
            chance(key["p"]),
            UNKNOWN if key["effect"] is None else task.main.signed(key["effect"]),
            verdict(key, found["noise_from"]),
        ]
        for key in found["keys"]
    ]
    if found["interactions"] is not None:
        told = "depends on several keys" if found["interactions_p"] < 0.05 else NOISE
        share = f"{100 * found['interactions']:.1f}"
        rows.append(["keys together", "", share, chance(found["interactions_p"]), "", told])
    if found["noise"] is not None:
        rows.append([f"noise ({found['noise_from']})", "", f"{100 * found['noise']:.1f}", "", "", ""])
    return Table(
        "Which key mattered",
        [
            "key",
            "values",
            "variance %",
            "p",
            f"best over worst, {task.main.differences}",
            "verdict",
        ],
        rows,
        f"Share of the variance of the {found['of']} {task.called} over all runs, less what noise would explain, by a "
        "linear model of main effects (type II sums of squares, epsilon squared). p: chance that noise explains as "
        "much (F test, Holm's correction).",
    )


NOISE = "no more than noise"


def verdict(key: dict[str, Any], noise_from: str | None) -> str:
    """What can be said of a key, in a few words."""
    if key["share"] is None:
        along = ", ".join(map(plain, key["along"])) or "other keys"
        return f"cannot be told: changes along with {along}"
    if noise_from is None:
        return "cannot be told: add seeds"
    return "matters" if key["matters"] else NOISE


def chance(p: float | None) -> str:
    """A probability."""
    if p is None:
        return UNKNOWN
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def what_mattered(sweep: dict[str, Any]) -> list[str]:
    """The same in words: the keys that matter, and those that do no more than noise."""
    task, found = task_of(sweep["task"]), sweep["importance"]
    where = " on validation" if found["of"] == "validation" else ""
    told = [
        f"{plain(key['key'])} explains {100 * key['share']:.0f} % of the variance{where}: {plain(key['best'])} is "
        f"{task.main.signed(abs(key['effect'])).lstrip('+')} {task.main.differences} better than {plain(key['worst'])}."
        for key in found["keys"]
        if key["matters"]
    ]
    silent = [plain(key["key"]) for key in found["keys"] if key["p"] is not None and not key["matters"]]
    told += [f"{', '.join(silent)}: no more than noise."] if silent else []
    if found["noise_from"] == "runs":
        told.append(
            "One seed a setting: what the keys leave over stands in for the noise, interactions included. Add seeds: "
            "seed=0,1,2."
        )
    if found["noise_from"] is None:
        told.append(
            "One seed a setting and as many keys as runs: nothing says what is noise. Add seeds: seed=0,1,2."
        )
    return told


def left_out(sweep: dict[str, Any]) -> Table:
    """The folders that are not in the report, and why."""
    return Table(
        f"Left out: {len(sweep['left_out'])} of {sweep['jobs']} folders",
        ["folder", "what", "why"],
        [[plain(one["name"]), one["kind"], plain(one["reason"])] for one in sweep["left_out"]],
        TRIALS if any(one["trial"] for one in sweep["left_out"]) else AGAIN,
    )


def counted(sweep: dict[str, Any]) -> str:
    """How many folders there are, and how many of each kind are left out: `12 runs; left out: 2 failed, 1 foreign`."""
    kinds = [one["kind"] for one in sweep["left_out"]]
    told = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    runs = sweep["jobs"] - len(kinds)
    return f"{runs} finished run{'' if runs == 1 else 's'}" + (f"; left out: {told}" if told else "")


def caution(sweep: dict[str, Any]) -> str:
    """How far the seeds of this sweep can be trusted."""
    unit = task_of(sweep["task"]).main
    if sweep["seeds_for_one_point"] is None:
        return "One seed a setting: differences cannot be told from chance. Add seeds: seed=0,1,2,3,4."
    scatter = f"{unit.written(sweep['seed_deviation'])} {unit.differences}"
    return (
        f"Seeds of one setting scatter by {scatter} (standard deviation) and barely pair: to find a true difference of "
        f"{unit.scale * unit.worth:g} {unit.one} four times out of five takes about {sweep['seeds_for_one_point']} "
        "seeds a setting."
    )


def tested_on(sweep: dict[str, Any]) -> str:
    """What the runs of a group were tested on: `keyword, SpeechCommands, 1,000 test cuts of 20 speakers`."""
    corpus = sweep["corpus"]
    cuts = f"{count(corpus['test_cuts'])} test cuts of {count(corpus['test_speakers'])} speakers"
    return ", ".join(
        [plain(sweep["task"] or "unknown task"), plain(corpus["name"] or "unknown corpus"), cuts]
    )
