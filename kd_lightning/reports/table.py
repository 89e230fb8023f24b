"""A table of a report, written once for the terminal, Markdown and the page."""

from typing import NamedTuple


class Table(NamedTuple):
    """Cells as text; the first column names the row."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    caption: str = ""
