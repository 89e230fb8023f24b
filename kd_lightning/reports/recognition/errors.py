"""Where word errors come from: the noise, the length, the speaker, and the words themselves."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kd_lightning.metrics.word_errors import Edits, align
from kd_lightning.reports.aligned import LEVELS, Aligned
from kd_lightning.reports.groups import quarters

EditsOf = Mapping[str, Sequence[Edits]]  # by stage, one an utterance
Mistakes = Counter[tuple[str | None, str | None]]  # how often which word became which; None is no word


def by_noise(aligned: Aligned, edits: EditsOf) -> list[dict[str, Any]]:
    """Error rates by noise level; empty when the corpus does not say how noisy its cuts are."""
    groups = _groups(aligned.noise, edits)
    return (
        [{"noise": level, **groups[level]} for level in LEVELS if level in groups] if len(groups) > 1 else []
    )


def by_length(aligned: Aligned, edits: EditsOf) -> list[dict[str, Any]]:
    """Error rates of the quarters of the test set by length."""
    names, of_cuts = quarters(aligned)
    groups = _groups(of_cuts, edits)
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


def mistakes(aligned: Aligned, edits: EditsOf, stage: str) -> Mistakes:
    """How often which word of the references became which of a network's outputs; ``None`` is no word."""
    counted: Mistakes = Counter()
    for said, heard, one in zip(aligned.references, aligned.outputs[stage], edits[stage], strict=True):
        if one.errors:
            slots = align(said, [heard])
            counted.update(
                (slot.reference, slot.outputs[0]) for slot in slots if slot.reference != slot.outputs[0]
            )
    return counted


def words_spoken(aligned: Aligned) -> Counter[str]:
    """How often each word was said."""
    return Counter(word for said in aligned.references for word in said.split())


def lost_words(
    spoken: Mapping[str, int], made: Mapping[str, Mistakes], student: str, most: int = 20
) -> list[dict[str, Any]]:
    """The words that a student has wrong more often than the teacher has, those with most further errors first.

    Args:
        spoken: how often each word was said.
        made: mistakes by stage; those of "teacher" and of ``student`` are compared.
        student: a stage.
        most: words to return.
    """
    wrong: dict[str, Counter[str]] = {}
    for stage, counted in made.items():
        wrong[stage] = Counter()
        for (said, _), times in counted.items():
            if said is not None:
                wrong[stage][said] += times
    further = wrong[student] - wrong["teacher"]  # what is left above zero
    ranked = sorted(further, key=lambda word: (-further[word], word))
    return [
        {
            "word": word,
            "times": spoken[word],
            "errors": {stage: counted[word] for stage, counted in wrong.items()},
        }
        for word in ranked[:most]
    ]


def word_mistakes(
    spoken: Mapping[str, int], found: Mistakes, same: Mistakes | None, most: int = 15
) -> dict[str, list[dict[str, Any]]]:
    """The words that a network most often confuses, leaves out and adds.

    Args:
        spoken: how often each word was said.
        found: its mistakes.
        same: those of the teacher, of which is said how often it makes the same ones.
        most: of each kind to return.

    Returns:
        ``confusions``, ``deleted`` and ``inserted``; a word that was not said, or not recognised, is None.
    """
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
