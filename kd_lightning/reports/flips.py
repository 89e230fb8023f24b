"""What changed from one network to another, cut by cut: agreement, flips, confusions."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from kd_lightning.reports.runs import Predictions

CLEAN = "clean or unknown"
NOISE_LEVELS = ((15.0, "15 dB and more"), (5.0, "5 to 15 dB"), (-5.0, "-5 to 5 dB"), (-np.inf, "below -5 dB"))


class Aligned(NamedTuple):
    """Predictions of several networks over the cuts that all of them scored."""

    references: NDArray[np.object_]
    speakers: NDArray[np.object_]
    noise: NDArray[np.object_]  # name of the noise level
    outputs: dict[str, NDArray[np.object_]]

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
        references,
        predictions[first].speakers[rows[first]],
        noise_levels(predictions[first].snr[rows[first]]),
        {name: one.outputs[rows[name]] for name, one in predictions.items()},
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


def flips(aligned: Aligned, before: str, after: str) -> dict[str, Any]:
    """Cuts that turned from right to wrong (lost) or from wrong to right (gained), by word and by noise."""
    old, new = aligned.correct(before), aligned.correct(after)
    levels = [CLEAN, *(name for _, name in NOISE_LEVELS)]
    return {
        "from": before,
        "to": after,
        "cuts": len(old),
        "lost": int(np.sum(old & ~new)),
        "gained": int(np.sum(~old & new)),
        "by_word": _by("word", aligned.references, sorted(set(aligned.references)), old, new),
        "by_noise": _by("noise", aligned.noise, levels, old, new) if len(set(aligned.noise)) > 1 else [],
    }


def accuracy_by_noise(aligned: Aligned) -> list[dict[str, Any]]:
    """Accuracy of each network by noise level; empty when the corpus does not say how noisy its cuts are."""
    if len(set(aligned.noise)) < 2:
        return []
    found = []
    for level in [CLEAN, *(name for _, name in NOISE_LEVELS)]:
        inside = aligned.noise == level
        if inside.any():
            accuracy = {name: float(aligned.correct(name)[inside].mean()) for name in aligned.outputs}
            found.append({"noise": level, "cuts": int(inside.sum()), "accuracy": accuracy})
    return found


def worst_confusions(
    aligned: Aligned, student: str, teacher: str | None, count: int = 10
) -> list[dict[str, Any]]:
    """The student's most frequent confusions, and how often the teacher makes the same one."""
    spoken = Counter(aligned.references)
    wrong = Counter(_confused(aligned, student))
    same = Counter(_confused(aligned, teacher)) if teacher else Counter()
    ranked = sorted(wrong.items(), key=lambda item: (-item[1], item[0]))[:count]
    return [
        {
            "reference": reference,
            "output": output,
            "cuts": times,
            "share": times / spoken[reference],
            "teacher_cuts": same[reference, output] if teacher else None,
        }
        for (reference, output), times in ranked
    ]


def _confused(aligned: Aligned, name: str) -> list[tuple[str, str]]:
    wrong = ~aligned.correct(name)
    return list(zip(aligned.references[wrong], aligned.outputs[name][wrong], strict=True))


def _by(
    kind: str, names: NDArray[np.object_], order: list[str], old: NDArray[np.bool_], new: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    found = []
    for name in order:
        inside = names == name
        if inside.any():
            lost, gained = int(np.sum(inside & old & ~new)), int(np.sum(inside & ~old & new))
            found.append({kind: name, "cuts": int(inside.sum()), "lost": lost, "gained": gained})
    return found
