"""The utterances where student and teacher differ most, aligned with what was said, word by word."""

from collections.abc import Mapping
from typing import Any

from kd_lightning.metrics.word_errors import align
from kd_lightning.reports.aligned import CLEAN, Aligned
from kd_lightning.reports.formats import plain, shortened
from kd_lightning.reports.html import Line, Utterance, Word
from kd_lightning.reports.recognition.errors import EditsOf
from kd_lightning.reports.runs import number

LEGEND = (
    "\N{NOT EQUAL TO} another word was recognised, \N{MINUS SIGN} the word was left out, + a word was added. "
    "Each line says how many errors it has."
)


def most_different(aligned: Aligned, edits: EditsOf, student: str, most: int = 20) -> list[dict[str, Any]]:
    """The utterances with the largest difference in errors between a student and the teacher.

    Args:
        aligned: what the stages said.
        edits: their errors.
        student: a stage; "teacher" is the other.
        most: utterances to return; fewer where they differ in fewer.
    """
    shown = [stage for stage in dict.fromkeys(("teacher", "baseline", student)) if stage in edits]
    differences = [
        ours.errors - theirs.errors for ours, theirs in zip(edits[student], edits["teacher"], strict=True)
    ]
    order = sorted(range(len(differences)), key=lambda place: (-abs(differences[place]), place))
    return [
        {
            "cut": aligned.cuts[place],
            "speaker": aligned.speakers[place],
            "seconds": number({"seconds": float(aligned.seconds[place])}, "seconds"),
            "noise": aligned.noise[place],
            "reference": aligned.references[place],
            "outputs": {stage: aligned.outputs[stage][place] for stage in shown},
            "errors": {stage: edits[stage][place].errors for stage in shown},
        }
        for place in order[:most]
        if differences[place]
    ]


def beside_reference(found: Mapping[str, Any], audio: str | None = None) -> Utterance:
    """An utterance as the page shows it.

    Args:
        found: one of ``most_different``.
        audio: data URI of what was said.
    """
    slots = align(found["reference"], list(found["outputs"].values()))
    seconds = found["seconds"]
    title = [plain(found["cut"]), f"speaker {shortened(found['speaker'])}"]
    title += [f"{seconds:.1f} s"] if seconds is not None else []
    title += [found["noise"]] if found["noise"] != CLEAN else []
    return Utterance(
        " · ".join(title),
        [plain(slot.reference or "") for slot in slots],
        [
            Line(
                stage, found["errors"][stage], [_marked(slot.reference, slot.outputs[row]) for slot in slots]
            )
            for row, stage in enumerate(found["outputs"])
        ],
        audio,
    )


def _marked(said: str | None, heard: str | None) -> Word:
    """A word of an output, with the sign of its error."""
    if heard is None:
        return Word("", "nothing") if said is None else Word(f"\N{MINUS SIGN} {plain(said)}", "deletion")
    if said is None:
        return Word(f"+ {plain(heard)}", "insertion")
    return (
        Word(plain(heard), "hit")
        if said == heard
        else Word(f"\N{NOT EQUAL TO} {plain(heard)}", "substitution")
    )
