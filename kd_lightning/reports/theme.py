"""Colours of the plots, for light and for dark pages."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from PIL import Image

DPI = 130


@dataclass(frozen=True)
class Theme:
    """Paper, ink and one colour a stage (Okabe and Ito's palette, safe for colour-blind readers)."""

    name: str
    paper: str
    ink: str
    faint: str
    grid: str
    shades: tuple[str, str, str]  # from nothing to everything
    stages: dict[str, str] = field(hash=False)

    def colour(self, stage: str) -> str:
        """The colour of a stage; ink for any other name."""
        return self.stages.get(stage, self.ink)

    @property
    def colormap(self) -> LinearSegmentedColormap:
        """Shares from 0 to 1."""
        return LinearSegmentedColormap.from_list(f"shares_{self.name}", self.shades)

    @property
    def settings(self) -> dict[str, Any]:
        """Matplotlib's settings under this theme."""
        return {
            "font.family": "DejaVu Sans",
            "font.size": 9.5,
            "text.color": self.ink,
            "axes.labelcolor": self.ink,
            "axes.edgecolor": self.faint,
            "axes.facecolor": self.paper,
            "figure.facecolor": self.paper,
            "savefig.facecolor": self.paper,
            "xtick.color": self.ink,
            "ytick.color": self.ink,
            "grid.color": self.grid,
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "text.parse_math": False,
        }


LIGHT = Theme(
    "light", "#ffffff", "#1f2430", "#9aa1ad", "#e7e9ee", ("#f3f6fa", "#2f86bd", "#062f4f"),
    {"teacher": "#5b6270", "assistant": "#7a5ea8", "baseline": "#d98200", "distill": "#4aa8de", "finetune": "#0067a8"},
)  # fmt: skip
DARK = Theme(
    "dark", "#171a21", "#e4e7ee", "#6d7482", "#2a2f3a", ("#20252f", "#2f86bd", "#e6f4ff"),
    {"teacher": "#b3bac7", "assistant": "#b79ae0", "baseline": "#f0a830", "distill": "#79c7f2", "finetune": "#3d9fe0"},
)  # fmt: skip


def new_figure(
    width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained"
) -> Figure:
    """A figure in inches, drawn by Agg, without pyplot's global state."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def open_axes(axes: Axes) -> Axes:
    """Axes without a box, with a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def png(figure: Figure, colours: int | None = None) -> bytes:
    """The figure as PNG, the same bytes for the same numbers.

    Args:
        figure: to draw.
        colours: of a palette, for images: 64 take a quarter of the bytes of a spectrogram; all by default.
    """
    buffer = BytesIO()
    figure.savefig(
        buffer, format="png", dpi=DPI, bbox_inches="tight", pad_inches=0.08, metadata={"Software": None}
    )
    if colours is None:
        return buffer.getvalue()
    # Maximum coverage keeps the colours of thin text, which a median cut would give to the image.
    drawn = Image.open(buffer).convert("RGB")
    drawn = drawn.quantize(colours, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    drawn.save(reduced := BytesIO(), format="png")
    return reduced.getvalue()


def themed(theme: Theme) -> AbstractContextManager[None]:
    """Context in which figures are made and saved under a theme."""
    settings: Any = theme.settings
    return rc_context(settings)
