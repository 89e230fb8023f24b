"""Mels and attention that the folders of runs hold, and a picture of one sentence in every voice."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile, ZipFile

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from kd_lightning.files import safe_name
from kd_lightning.reports.theme import Theme, new_figure

# Of all arrays of a file, unpacked: a file of a run may be anyone's.
_MOST_BYTES = 64_000_000
# The quietest that is drawn, below the loudest of the recording: natural logarithm of the amplitude.
_RANGE = 9.0

Image = NDArray[np.float64]


class Spectrograms(NamedTuple):
    """What ``spectrograms/<cut>.npz`` holds.

    Attributes:
        mel: (bins, frames) of what a network said.
        reference: (bins, frames') of the recording.
        attention: (S, U) of the decoder over the tokens; ``None`` without one.
        hop_seconds: length of a frame.
    """

    mel: Image
    reference: Image
    attention: Image | None
    hop_seconds: float


def read_spectrograms(folder: Path, cut: str) -> Spectrograms | None:
    """The spectrograms of a cut in a run's folder; ``None`` where there are none, or no images of finite numbers."""
    path = folder / "spectrograms" / f"{safe_name(cut)}.npz"
    try:
        if not path.is_file():
            return None
        with ZipFile(path) as packed:
            if sum(part.file_size for part in packed.infolist()) > _MOST_BYTES:
                return None
        with np.load(path, allow_pickle=False) as arrays:
            mel, reference = (_image(arrays[key]) for key in ("mel", "reference_mel"))
            attention = _image(arrays["attention"]) if "attention" in arrays else None
            hop = float(arrays["hop_seconds"])
    except (OSError, ValueError, TypeError, KeyError, EOFError, BadZipFile):
        return None
    known = mel is not None and reference is not None and 0 < hop < 1
    return Spectrograms(mel, reference, attention, hop) if known else None  # type: ignore[arg-type]


def beside_recording(spoken: Mapping[str, Spectrograms], theme: Theme) -> Figure:
    """The mel of a recording, and below it the mel and the attention of each stage, over seconds.

    Args:
        spoken: by stage, at least one.
        theme: light or dark.
    """
    one = next(iter(spoken.values()))
    attended = any(said.attention is not None for said in spoken.values())
    rows = 1 + len(spoken)
    figure = new_figure(7.2, 0.55 + 1.05 * rows)
    grid = figure.subplots(rows, 1 + attended, squeeze=False, width_ratios=[3, 1][: 1 + attended])
    end = max(said.hop_seconds * max(said.mel.shape[1], said.reference.shape[1]) for said in spoken.values())
    loudest = float(one.reference.max())
    voices = [
        ("recording", one.reference, None, one.hop_seconds),
        *((stage, said.mel, said.attention, said.hop_seconds) for stage, said in spoken.items()),
    ]
    for row, (name, mel, attention, hop) in zip(grid, voices, strict=True):
        _mel(row[0], mel, hop, loudest, theme)
        row[0].set_xlim(0, end)
        row[0].set_title(name, color=theme.colour(name))
        if name != voices[-1][0]:
            row[0].set_xticks([])
        for axes in row[1:]:
            _attention(axes, attention, theme)
    grid[-1, 0].set_xlabel("seconds")
    grid[rows // 2, 0].set_ylabel("mel band")
    return figure


def _mel(axes: Axes, mel: Image, hop: float, loudest: float, theme: Theme) -> None:
    axes.imshow(
        mel, origin="lower", aspect="auto", interpolation="nearest", cmap=theme.colormap,
        vmin=loudest - _RANGE, vmax=loudest, extent=(0, hop * mel.shape[1], -0.5, mel.shape[0] - 0.5),
    )  # fmt: skip
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _attention(axes: Axes, attention: Image | None, theme: Theme) -> None:
    if attention is None:
        axes.set_axis_off()
        return
    axes.imshow(
        attention.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap=theme.colormap,
        vmin=0,
        vmax=1,
    )
    axes.set_title("attention: tokens over steps", fontsize=8, fontweight="normal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(theme.grid)


def _image(values: Any) -> Image | None:
    """Values as an image, if they are one."""
    image = np.asarray(values)
    if image.ndim != 2 or not image.size or image.dtype.kind != "f" or not np.isfinite(image).all():
        return None
    return image.astype(np.float64)
