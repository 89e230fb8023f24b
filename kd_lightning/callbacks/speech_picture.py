"""A picture of a sentence: the mel of its recording, the mel that a network said, and the decoder's attention."""

from io import BytesIO
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def speech_picture(one: Any, hop_seconds: float) -> bytes:
    """PNG of a sentence.

    Args:
        one: a :class:`~kd_lightning.distillers.spoken.Spoken`.
        hop_seconds: length of a frame.
    """
    rows = 2 if one.attention is None else 3
    figure = Figure(figsize=(7.2, 1.9 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    recording, said, *below = figure.subplots(rows, 1)
    end = hop_seconds * max(one.reference_mel.shape[1], one.mel.shape[1])
    low, high = float(one.reference_mel.min()), float(one.reference_mel.max())
    for axes, title, mel in ((recording, "recording", one.reference_mel), (said, "said", one.mel)):
        extent = (0.0, hop_seconds * mel.shape[1], -0.5, mel.shape[0] - 0.5)
        _image(axes, mel, extent, low, high)
        axes.set(title=title, xlim=(0.0, end), ylabel="mel band")
    said.set_xlabel("seconds")
    for axes in below:
        steps, tokens = one.attention.shape
        _image(axes, one.attention.T, (-0.5, steps - 0.5, -0.5, tokens - 0.5), 0.0, 1.0)
        axes.set(title="attention", xlabel="decoder step", ylabel="token")
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def _image(
    axes: Axes, values: Any, extent: tuple[float, float, float, float], low: float, high: float
) -> None:
    axes.imshow(
        values, origin="lower", aspect="auto", interpolation="nearest", cmap="magma", extent=extent, vmin=low,
        vmax=high,
    )  # fmt: skip
