"""The table of a sweep, once for the terminal, Markdown and the page."""

from typing import Any

from kd_lightning.reports.formats import count, percent, plain, points
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.settings import POINT, REFERENCE
from kd_lightning.reports.table import Table


def settings(sweep: dict[str, Any]) -> Table:
    """One row a setting."""
    task = task_of(sweep["task"])
    direction = f", {task.direction}" if task.direction else ""
    return Table(
        "Settings",
        [
            "setting",
            f"{task.called} % [95 %]",
            *task.others.values(),
            f"points over {REFERENCE} [95 %]{direction}",
            "seeds",
            "unfinished",
        ],
        [
            [
                plain(row["setting"]),
                percent(row["metrics"].get(task.metric), row["intervals"].get(task.metric)),
                *(percent(row["metrics"].get(key)) for key in task.others),
                points(row["difference"]["value"], row["difference"]["interval"])
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
    if sweep["seeds_for_one_point"] is None:
        return "One seed a setting: differences cannot be told from chance. Add seeds: seed=0,1,2,3,4."
    return (
        f"Seeds of one setting scatter by {100 * sweep['seed_deviation']:.1f} points (standard deviation) "
        f"and barely pair: to find a true difference of {100 * POINT:.0f} point four times out of five takes "
        f"about {sweep['seeds_for_one_point']} seeds a setting."
    )
