"""What a search found, as a table, as Markdown and as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from rich.text import Text

from kd_lightning.budget.candidates import Candidate, fits
from kd_lightning.budget.limits import SHOWN, TIMED, Budget, Cost
from kd_lightning.files import write
from kd_lightning.reports.formats import UNKNOWN, count
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.markdown import bullets, escape, markdown
from kd_lightning.reports.strict_json import to_json
from kd_lightning.reports.table import Table
from kd_lightning.reports.terminal import default_console, print_lines, rich_table

HEADS = {
    "size_kb": "size kB",
    "params": "params",
    "latency_ms": "ms p50",
    "real_time_factor": "RTF",
}


class Found(NamedTuple):
    """A search, as far as it has come.

    Attributes:
        name: of the pipeline.
        task: of the experiment.
        monitor: key of the validation metric by which students are ranked.
        budget: the limits.
        candidates: in any order.
        others: number of students in ``conf/student`` of other tasks.
    """

    name: str
    task: str
    monitor: str
    budget: Budget
    candidates: list[Candidate]
    others: int


def table(found: Found) -> Table:
    """All candidates: those that are tried, what is narrower, what is over the budget, what does not build."""
    keys = [key for key in Cost._fields if key not in TIMED or key in found.budget]
    metric = found.monitor.rpartition("/")[2]
    unit = task_of(found.task).unit(metric)
    heads = [task_of(found.task).macs[0] if key == "macs" else HEADS[key] for key in keys]
    tried = any(candidate.scores for candidate in found.candidates)
    rows = []
    for candidate in sorted(found.candidates, key=_order):
        costs = [_shown(key, candidate.cost) for key in keys]
        scores = " → ".join(
            f"{unit.written(score)} ({candidate.steps[epochs]})"
            for epochs, score in sorted(candidate.scores.items())
        )
        shown = [scores or UNKNOWN] if tried else []
        rows.append([candidate.name, *costs, *shown, _verdict(candidate)])
    limits = ", ".join(f"{key} {SHOWN[key](limit)}" for key, limit in found.budget.items())
    return Table(
        f"Students within {limits}",
        [
            "student",
            *heads,
            *([f"{unit.head(metric)} (steps)"] if tried else []),
            "rank" if tried else "budget",
        ],
        rows,
        caption(found),
    )


def caption(found: Found) -> str:
    """How the numbers were measured."""
    return (
        "Size: float32 weights and the frontend's tables, as network.safetensors holds them; int8 takes a quarter of "
        "the weights, and an ONNX file adds its graph. MACs: "
        + ("of one clip" if found.task == "keyword" else "of a second of audio")
        + f". Short runs: the best {found.monitor} of distill in so many steps, with the same teacher, seed and "
        f"batches. {found.others} students of other tasks are not listed."
    )


def write_found(found: Found, folder: Path) -> None:
    """Write ``candidates.json`` and ``candidates.md``."""
    content = {
        "name": found.name,
        "task": found.task,
        "budget": found.budget,
        "size": "float32 weights and the frontend's tables",
        "macs_of": "clip" if found.task == "keyword" else "second of audio",
        "monitor": found.monitor,
        "candidates": [
            {
                "name": each.name,
                "rank": each.rank,
                "fits": each.rank is not None or fits(each),
                "reasons": each.reasons,
                "student": each.student,
                "words": [f"student={each.student}", *each.words],
                "network": each.network,
                "cost": each.cost._asdict() if each.cost else None,
                "short_runs": [
                    {"epochs": epochs, "steps": each.steps[epochs], "score": score}
                    for epochs, score in sorted(each.scores.items())
                ],
            }
            for each in sorted(found.candidates, key=_order)
        ],
    }
    text = f"# Search: {escape(found.name)}\n\n{markdown(table(found), titled=True)}"
    if broken := unbuilt(found):
        text += f"\nLeft out:\n\n{bullets(broken)}"
    write(folder / "candidates.md", text)
    write(folder / "candidates.json", to_json(content))


def print_found(found: Found) -> None:
    """Print the same."""
    console = default_console()
    console.print(rich_table(table(found)))
    console.print(Text(caption(found), style="dim"))
    print_lines(unbuilt(found), console, style="yellow")


def unbuilt(found: Found) -> list[str]:
    """Students without a cost or a score, and why."""
    return [
        f"{each.name}: {'; '.join(each.reasons)}"
        for each in found.candidates
        if each.cost is None or any(reason.startswith("failed") for reason in each.reasons)
    ]


def _order(candidate: Candidate) -> tuple[Any, ...]:
    place = candidate.rank if candidate.rank is not None else 10**6
    group = 0 if fits(candidate) else 1 if candidate.cost else 2
    over = any(" > " in reason for reason in candidate.reasons)
    return place, group, over, candidate.cost.size_kb if candidate.cost else 0.0, candidate.name


def _verdict(candidate: Candidate) -> str:
    if candidate.rank is not None:
        return str(candidate.rank)
    if not candidate.reasons:
        return "fits"
    if candidate.cost is None:
        return "does not build"
    over = [reason.partition(" ")[0] for reason in candidate.reasons if " > " in reason]
    return f"over {', '.join(over)}" if over else candidate.reasons[0].partition(" ")[0]


def _shown(key: str, cost: Cost | None) -> str:
    value = getattr(cost, key) if cost else None
    if value is None:
        return UNKNOWN
    return count(value) if key == "params" else SHOWN[key](value)
