"""What changed from one network to another, cut by cut: flips, confusions."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_lightning.reports.aligned import LEVELS, Aligned


def flips(aligned: Aligned, before: str, after: str) -> dict[str, Any]:
    """Cuts that turned from right to wrong (lost) or from wrong to right (gained), by word, by noise and by speaker.

    Of the speakers those with the most lost cuts; none where there is one speaker.
    """
    old, new = aligned.correct(before), aligned.correct(after)
    return {
        "from": before,
        "to": after,
        "cuts": len(old),
        "lost": int(np.sum(old & ~new)),
        "gained": int(np.sum(~old & new)),
        "by_word": _by("word", aligned.references, sorted(set(aligned.references)), old, new),
        "by_noise": _by("noise", aligned.noise, LEVELS, old, new) if len(set(aligned.noise)) > 1 else [],
        "by_speaker": _worst_speakers(aligned, old, new),
    }


def accuracy_by_noise(aligned: Aligned) -> list[dict[str, Any]]:
    """Accuracy of each network by noise level; empty when the corpus does not say how noisy its cuts are."""
    if len(set(aligned.noise)) < 2:
        return []
    found = []
    for level in LEVELS:
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


def _worst_speakers(
    aligned: Aligned, old: NDArray[np.bool_], new: NDArray[np.bool_], most: int = 20
) -> list[dict[str, Any]]:
    found = _by("speaker", aligned.speakers, sorted(set(aligned.speakers)), old, new)
    found.sort(key=lambda row: (-row["lost"], row["gained"]))
    return found[:most] if len(found) > 1 else []


def _by(
    kind: str,
    names: NDArray[np.object_],
    order: Iterable[str],
    old: NDArray[np.bool_],
    new: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    groups, place = np.unique(names, return_inverse=True)
    counted = {
        key: np.bincount(place[inside], minlength=len(groups))
        for key, inside in (("cuts", np.full(len(names), True)), ("lost", old & ~new), ("gained", ~old & new))
    }
    rows = {name: row for row, name in enumerate(groups)}
    return [
        {kind: name, **{key: int(counts[rows[name]]) for key, counts in counted.items()}}
        for name in order
        if name in rows
    ]
