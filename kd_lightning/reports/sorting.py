"""By what the cells of a table are sorted: written numbers by their value, stages and noise levels by their order."""

import math
import re

from kd_lightning.reports.aligned import LEVELS
from kd_lightning.reports.formats import UNKNOWN
from kd_lightning.reports.runs import STAGES
from kd_lightning.reports.table import Table

_NUMBER = r"[+\-]?\d[\d,]*(?:\.\d+)?(?:e[+\-]?\d+)?"
# The first number of a cell counts: of a value with its interval, of a median and a percentile, of a range.
_QUANTITY = re.compile(
    rf"(?P<bound>up to |over )?(?P<number>{_NUMBER})(?: (?P<unit>[A-Za-z%]+))?(?: (?:\[|/|to ).*)?"
)
_DURATION = re.compile(r"(?:(\d+) h )?(\d+) min(?: (\d+) s)?")
_SCALES = {
    **{"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12},
    **{"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12},
    **dict.fromkeys(("s", "ms", "dB", "Hz", "%", "words"), 1.0),
}
_RANKS = {name: float(rank) for names in (STAGES, LEVELS) for rank, name in enumerate(names)}


def sort_values(table: Table) -> list[list[float | None]]:
    """What each cell is sorted by, (rows, columns); ``None`` where nothing is known, and all over columns of words."""
    columns = [_column([row[place] for row in table.rows]) for place in range(len(table.columns))]
    return [list(values) for values in zip(*columns, strict=True)]


def value(cell: str) -> float | None:
    """The number that a cell says; ``None`` of words.

    It turns round what ``formats`` writes: ``1,024``, ``8.05 M``, ``43 kB``, ``3 min 12 s``, ``+4.3 [+2.1, +6.5]``,
    ``0.52 / 0.71``, ``up to 2 s``.
    """
    if duration := _DURATION.fullmatch(cell):
        hours, minutes, seconds = (float(part or 0) for part in duration.groups())
        return 3600 * hours + 60 * minutes + seconds
    found = _QUANTITY.fullmatch(cell)
    if found is None or found["unit"] not in (None, *_SCALES):
        return None
    number = float(found["number"].replace(",", "")) * _SCALES.get(found["unit"], 1.0)
    if not math.isfinite(number):
        return None
    return math.nextafter(number, math.inf) if found["bound"] == "over " else number


def _column(cells: list[str]) -> list[float | None]:
    """Values of a column's cells, where all that say something say a number, or all are names with an order."""
    known = [cell for cell in cells if not _says_nothing(cell)]
    for read in (_RANKS.get, value):
        if known and all(read(cell) is not None for cell in known):
            return [None if _says_nothing(cell) else read(cell) for cell in cells]
    return [None] * len(cells)


def _says_nothing(cell: str) -> bool:
    return not cell or cell.startswith(UNKNOWN)
