"""One self-contained HTML file: no network, one script of our own that sorts tables, every value escaped."""

from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from kd_lightning.reports.sorting import sort_values
from kd_lightning.reports.table import Table
from kd_lightning.reports.theme import DARK, LIGHT, Theme, png, themed


class Plot(NamedTuple):
    """A plot in both themes, as PNG."""

    name: str
    description: str
    light: bytes
    dark: bytes


class Word(NamedTuple):
    """A word of an output with the sign of its error, and the kind of error, which gives its colour.

    Attributes:
        text: what is shown.
        kind: "hit", "substitution", "deletion", "insertion", or "nothing" where the output has no word.
    """

    text: str
    kind: str


class Line(NamedTuple):
    """What one network recognised."""

    name: str
    errors: int
    words: list[Word]


class Utterance(NamedTuple):
    """What was said and what each network recognised, a column a word; ``audio`` is a data URI."""

    title: str
    reference: list[str]
    lines: list[Line]
    audio: str | None = None

    @property
    def table(self) -> Table:
        """The same without colour and audio."""
        rows = [[line.name, str(line.errors), *(word.text for word in line.words)] for line in self.lines]
        return Table(self.title, ["reference", "errors", *self.reference], rows)


class Voice(NamedTuple):
    """How one network, or the speaker, says a sentence; ``audio`` is a data URI."""

    name: str
    note: str
    audio: str | None = None


class Heard(NamedTuple):
    """A sentence as the speaker and each network say it, and a picture of that."""

    title: str
    voices: list[Voice]
    picture: Plot | None = None

    @property
    def table(self) -> Table:
        """The same without audio and picture."""
        return Table(self.title, ["voice", "measured"], [[voice.name, voice.note] for voice in self.voices])


class Block(NamedTuple):
    """Lines that are shown as they are, folded away until somebody opens them."""

    title: str
    text: str


class Section(NamedTuple):
    """A part of the page: paragraphs, tables side by side where they fit, plots, utterances, what is heard, blocks."""

    title: str
    text: list[str]
    tables: list[Table]
    plots: list[Plot]
    utterances: Sequence[Utterance] = ()
    heard: Sequence[Heard] = ()
    blocks: Sequence[Block] = ()

    @property
    def drawn(self) -> list[Plot]:
        """Every plot of the section."""
        return [*self.plots, *(one.picture for one in self.heard if one.picture)]


class Page(NamedTuple):
    """What the page shows."""

    title: str
    subtitle: str
    headline: str
    sections: list[Section]
    notes: list[str]


def plot(name: str, description: str, draw: Callable[[Theme], Figure], colours: int | None = None) -> Plot:
    """Draw a plot in both themes.

    Args:
        name: file name without ending.
        description: what it shows, for who cannot see it.
        draw: makes the figure under a theme.
        colours: of a palette; all by default.
    """
    drawn = {}
    for theme in (LIGHT, DARK):
        with themed(theme):
            drawn[theme.name] = png(draw(theme), colours)
    return Plot(name, description, drawn["light"], drawn["dark"])


def html(page: Page) -> str:
    """The page as HTML text."""
    # Autoescape is on for good: names, words and notes come from files that anyone may have written.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = lambda image: "data:image/png;base64," + b64encode(image).decode()
    environment.filters["sort_values"] = sort_values
    script = (Path(__file__).parent / "sort.js").read_text(encoding="utf-8")
    # The page's policy lets this script run and no other, should one ever get past the escaping.
    digest = b64encode(sha256(script.encode()).digest()).decode()
    template = environment.get_template("page.html.jinja")
    return template.render(page=page, script=Markup(script), digest=digest)
