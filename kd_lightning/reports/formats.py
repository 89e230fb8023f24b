"""How numbers are written, in the terminal, in Markdown and on the page. What is unknown is a dash."""

from collections.abc import Sequence
from typing import NamedTuple

UNKNOWN = "\N{EN DASH}"

Interval = Sequence[float | None] | None


class Unit(NamedTuple):
    """What a metric is shown in.

    Attributes:
        name: in the head of a column; empty for a plain number.
        digits: behind the point.
        scale: by which a value is multiplied before it is shown.
        differences: what a difference is counted in, and ``one`` a single one of them; of a metric that decides.
        worth: a difference that is worth finding, in the metric's own numbers; of a metric that decides.
    """

    name: str
    digits: int
    scale: float = 1.0
    differences: str = ""
    one: str = ""
    worth: float = 1.0

    def written(self, value: float | None, interval: Interval = None) -> str:
        """A value, or a value with its interval; the head of the column says the unit: `81.2 [79.8, 82.6]`."""
        return self._written(value, interval, "")

    def signed(self, value: float | None, interval: Interval = None) -> str:
        """A difference, always signed: `+4.3 [+2.1, +6.5]`."""
        return self._written(value, interval, "+")

    def head(self, called: str) -> str:
        """The head of a column of a metric: `WER %`, `MCD dB`."""
        return f"{called} {self.name}".rstrip()

    def _written(self, value: float | None, interval: Interval, sign: str) -> str:
        if value is None or value != value:
            return UNKNOWN
        form = f"{{:{sign}.{self.digits}f}}"
        bounds = [
            form.format(self.scale * bound)
            for bound in interval or ()
            if bound is not None and bound == bound
        ]
        return form.format(self.scale * value) + (f" [{', '.join(bounds)}]" if len(bounds) == 2 else "")


SHARE = Unit("%", 1, 100.0, "points", "point", 0.01)
DECIBELS = Unit("dB", 2, 1.0, "dB", "dB", 0.1)
HERTZ = Unit("Hz", 1)
MILLISECONDS = Unit("ms", 1)
PLAIN = Unit("", 3)
PER_SENTENCE = Unit("/ sentence", 2)


def percent(value: float | None, interval: Interval = None) -> str:
    """A share as `81.2`, or `81.2 [79.8, 82.6]` with its interval; the column head says %."""
    return SHARE.written(value, interval)


def points(value: float | None, interval: Interval = None) -> str:
    """A difference of two shares in points, always signed: `+4.3 [+2.1, +6.5]`."""
    return SHARE.signed(value, interval)


def count(value: float | None) -> str:
    """A number of things, `9,102`."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def magnitude(value: float | None) -> str:
    """A large number with three figures, `1.31 M`."""
    return _scaled(value, ("", " k", " M", " G", " T"))


def size(value: float | None) -> str:
    """Bytes in decimal units, `36.9 kB`."""
    return _scaled(value, (" B", " kB", " MB", " GB", " TB"))


def milliseconds(p50: float | None, p95: float | None) -> str:
    """Median and 95th percentile, `0.52 / 0.71`."""
    return " / ".join(UNKNOWN if value is None else f"{value:.3g}" for value in (p50, p95))


def ratio(value: float | None) -> str:
    """A small ratio such as a real-time factor, two figures, never in exponent form."""
    if value is None:
        return UNKNOWN
    return f"{value:.2g}" if value >= 1e-4 or value == 0 else f"{value:.6f}"


def seconds(value: float | None) -> str:
    """A duration, `48 s`, `3 min 12 s`, `2 h 5 min`."""
    if value is None:
        return UNKNOWN
    whole = round(value)
    if whole < 60:
        return f"{value:.0f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def heading(text: str) -> str:
    """A text that begins with a capital letter, the others as they are: `Accuracy`, `WER`."""
    return text[:1].upper() + text[1:]


def plain(text: object) -> str:
    """Text of a run on one line: control characters, which a terminal would obey, are replaced."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))


def shortened(text: object, longest: int = 24) -> str:
    """The same, of at most so many characters: Common Voice names a speaker by 128."""
    line = plain(text)
    return line if len(line) <= longest else line[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _scaled(value: float | None, units: Sequence[str]) -> str:
    if value is None:
        return UNKNOWN
    for unit in units[:-1]:
        if abs(value) < 999.5:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}{units[-1]}"
