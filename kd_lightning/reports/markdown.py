"""Tables as Markdown. Text of a run stays text: its pipes, tags and links are escaped."""

import re
from collections.abc import Iterable

from kd_lightning.reports.formats import plain
from kd_lightning.reports.table import Table


def markdown(table: Table, titled: bool = True) -> str:
    """A table with its caption and, unless a heading says it already, its title."""
    lines = [
        *([f"### {escape(table.title)}", ""] if titled else []),
        _line(table.columns),
        "| :-- |" + " --: |" * (len(table.columns) - 1),
        *(_line(row) for row in table.rows),
    ]
    return "\n".join([*lines, "", *([escape(table.caption), ""] if table.caption else [])])


def bullets(items: Iterable[str]) -> str:
    """A list, one item a line."""
    return "".join(f"- {escape(item)}\n" for item in items)


def escape(text: str) -> str:
    """Text that Markdown and HTML show as it is."""
    safe = plain(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|#]|_(?=\W|$)|(?<!\w)_)", r"\\\1", safe)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(escape(cell) for cell in cells) + " |"
