"""The table of a sweep, once for the terminal, Markdown and the page."""

from typing import Any

from kd_lightning.reports.formats import count, plain
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.settings import REFERENCE
from kd_lightning.reports.table import Table


def settings(sweep: dict[str, Any]) -> Table:
    """One row a setting."""
    task = task_of(sweep["task"])
    direction = f", {task.direction}" if task.direction else ""
    return Table(
        "Settings",
        [
            "setting",
            f"{task.main.head(task.called)} [95 %]",
            *task.others.values(),
            f"{task.main.differences} over {REFERENCE} [95 %]{direction}",
            "seeds",
            "unfinished",
        ],
        [
            [
                plain(row["setting"]),
                task.main.written(row["metrics"].get(task.metric), row["intervals"].get(task.metric)),
                *(task.unit(key).written(row["metrics"].get(key)) for key in task.others),
                task.main.signed(row["difference"]["value"], row["difference"]["interval"])
                if row["difference"]
                else "",
                count(len(row["seeds"])),
                count(len(row["unfinished"])) if row["unfinished"] else "",
            ]
            for row in sweep["rows"]
        ],
        "Mean over seeds with Student's t interval. Equal seeds are paired, others compared by Welch's.",
    )


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
