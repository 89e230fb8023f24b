"""What several networks said of the same cuts, side by side."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_lightning.reports.runs import Predictions

CLEAN = "clean or unknown"
NOISE_LEVELS = ((15.0, "15 dB and more"), (5.0, "5 to 15 dB"), (-5.0, "-5 to 5 dB"), (-np.inf, "below -5 dB"))
LEVELS = (CLEAN, *(name for _, name in NOISE_LEVELS))


class Aligned(NamedTuple):
    """Predictions of several networks over the cuts that all of them scored."""

    cuts: NDArray[np.object_]
    references: NDArray[np.object_]
    speakers: NDArray[np.object_]
    noise: NDArray[np.object_]  # name of the noise level
    seconds: NDArray[np.float64]  # NaN unknown
    outputs: dict[str, NDArray[np.object_]]
    measured: dict[
        str, dict[str, NDArray[np.float64]]
    ]  # of each network: metrics of each cut by key, NaN unknown

    def correct(self, name: str) -> NDArray[np.bool_]:
        """Whether each output of a network is the reference, (N,)."""
        return np.asarray(self.outputs[name] == self.references, dtype=bool)


def align(predictions: Mapping[str, Predictions]) -> Aligned:
    """Put predictions of several networks in one order, over the cuts they share.

    Raises:
        ValueError: when no cut is common, or a cut has another reference.
    """
    common = set.intersection(*(set(one.cuts) for one in predictions.values()))
    if not common:
        sizes = ", ".join(f"{name} {len(one.cuts)}" for name, one in predictions.items())
        raise ValueError(f"no test cut is common to all stages ({sizes} cuts), so they cannot be compared")
    order = sorted(common)
    rows = {}
    for name, one in predictions.items():
        place = {cut: row for row, cut in enumerate(one.cuts)}
        rows[name] = np.array([place[cut] for cut in order])
    first = next(iter(predictions))
    references = predictions[first].references[rows[first]]
    for name, one in predictions.items():
        differ = np.flatnonzero(one.references[rows[name]] != references)
        if len(differ):
            cut = order[differ[0]]
            raise ValueError(
                f"{name} and {first} were scored against different labels, so they cannot be compared: "
                f"{len(differ)} cuts, for example {cut!r} is {one.references[rows[name]][differ[0]]!r} and "
                f"{references[differ[0]]!r}"
            )
    return Aligned(
        np.array(order, dtype=object),
        references,
        predictions[first].speakers[rows[first]],
        noise_levels(predictions[first].snr[rows[first]]),
        predictions[first].seconds[rows[first]],
        {name: one.outputs[rows[name]] for name, one in predictions.items()},
        {
            name: {key: values[rows[name]] for key, values in one.measured.items()}
            for name, one in predictions.items()
        },
    )


def noise_levels(snr: NDArray[np.float64]) -> NDArray[np.object_]:
    """Name of the noise level of each cut.

    Args:
        snr: (N,) dB; infinite or NaN when the cut is clean or its noise unknown.
    """
    names = np.full(len(snr), CLEAN, dtype=object)
    above = np.inf
    for low, name in NOISE_LEVELS:
        names[(snr >= low) & (snr < above) & np.isfinite(snr)] = name
        above = low
    return names
