"""Where word errors come from: the noise, the length, the speaker, and the words themselves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_lightning.metrics.word_errors import Edits, align
from kd_lightning.reports.aligned import LEVELS, Aligned

EditsOf = Mapping[str, Sequence[Edits]]  # by stage, one an utterance


def by_noise(aligned: Aligned, edits: EditsOf) -> list[dict[str, Any]]:
    """Error rates by noise level; empty when the corpus does not say how noisy its cuts are."""
    groups = _groups(aligned.noise, edits)
    return (
        [{"noise": level, **groups[level]} for level in LEVELS if level in groups] if len(groups) > 1 else []
    )


def by_length(aligned: Aligned, edits: EditsOf) -> list[dict[str, Any]]:
    """Error rates of the quarters of the test set by length.

    In tenths of a second; in words where some cut's seconds are unknown.
    """
    values, unit, step = np.round(aligned.seconds, 1), "s", 0.1
    if not np.isfinite(values).all():
        values, unit, step = np.array([float(len(said.split())) for said in aligned.references]), "words", 1.0
    edges = np.unique(np.quantile(values, (0.25, 0.5, 0.75), method="inverted_cdf"))
    names = [
        f"up to {edges[0]:.3g} {unit}",
        *(f"{_range(below + step, edge)} {unit}" for below, edge in pairwise(edges)),
        f"over {edges[-1]:.3g} {unit}",
    ]
    groups = _groups(np.array(names, dtype=object)[np.searchsorted(edges, values)], edits)
    return [{"length": name, **groups[name]} for name in names if name in groups] if len(groups) > 1 else []


def by_speaker(aligned: Aligned, edits: EditsOf, judged: str, most: int = 10) -> list[dict[str, Any]]:
    """Error rates of the speakers who cost a network most.

    Ranked by the errors beyond what the network's own rate over all makes of as many words, so that a speaker of one
    short utterance is not the worst of thousands; empty when there is one speaker.

    Args:
        aligned: what the stages said.
        edits: their errors.
        judged: the stage that ranks them.
        most: speakers to return.
    """
    groups = _groups(aligned.speakers, edits)
    overall = sum(edits[judged], Edits()).rate
    rows = [
        {
            "speaker": speaker,
            "errors_beyond_average": (group["wer"][judged] - overall) * group["words"],
            **group,
        }
        for speaker, group in groups.items()
    ]
    rows.sort(key=lambda row: (-row["errors_beyond_average"], row["speaker"]))
    return rows[:most] if len(rows) > 1 else []


def word_mistakes(
    aligned: Aligned, edits: EditsOf, judged: str, teacher: str | None, most: int = 15
) -> dict[str, list[dict[str, Any]]]:
    """The words that a network most often confuses, leaves out and adds.

    Args:
        aligned: what the stages said.
        edits: their errors.
        judged: the stage whose mistakes are counted.
        teacher: a stage of which is said how often it makes the same ones.
        most: of each kind to return.

    Returns:
        ``confusions``, ``deleted`` and ``inserted``; a word that was not said, or not recognised, is None.
    """
    found = _mistakes(aligned, edits, judged)
    same = _mistakes(aligned, edits, teacher) if teacher else None
    spoken = Counter(word for said in aligned.references for word in said.split())
    kinds: dict[str, list[dict[str, Any]]] = {"confusions": [], "deleted": [], "inserted": []}
    for (said, heard), times in sorted(found.items(), key=lambda item: (-item[1], str(item[0]))):
        kind = kinds["inserted" if said is None else "deleted" if heard is None else "confusions"]
        if len(kind) < most:
            kind.append(
                {
                    "reference": said,
                    "output": heard,
                    "times": times,
                    "share": times / spoken[said] if said is not None else None,
                    "teacher_times": None if same is None else same[said, heard],
                }
            )
    return kinds


def _range(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}" if high - low > 1e-6 else f"{high:.3g}"


def _groups(names: NDArray[np.object_], edits: EditsOf) -> dict[str, dict[str, Any]]:
    """Cuts, words of their references and error rates of each group of utterances, by its name."""
    groups, place = np.unique(names, return_inverse=True)
    cuts = np.bincount(place)
    words = np.bincount(place, weights=[one.reference for one in next(iter(edits.values()))])
    errors = {
        stage: np.bincount(place, weights=[one.errors for one in each]) for stage, each in edits.items()
    }
    return {
        str(name): {
            "cuts": int(cuts[row]),
            "words": int(words[row]),
            "wer": {stage: float(made[row] / max(1.0, words[row])) for stage, made in errors.items()},
        }
        for row, name in enumerate(groups)
    }


def _mistakes(aligned: Aligned, edits: EditsOf, stage: str) -> Counter[tuple[str | None, str | None]]:
    """How often which word of the references became which of the outputs; ``None`` is no word."""
    counted: Counter[tuple[str | None, str | None]] = Counter()
    for said, heard, one in zip(aligned.references, aligned.outputs[stage], edits[stage], strict=True):
        if one.errors:
            slots = align(said, [heard])
            counted.update(
                (slot.reference, slot.outputs[0]) for slot in slots if slot.reference != slot.outputs[0]
            )
    return counted
