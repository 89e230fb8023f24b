"""Whether corpus, student and teacher mean the same: classes or tokens, features, sample rates, frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kd_lightning.checks.finding import Finding, ok, warning
from kd_lightning.distillers.distiller import Distiller
from kd_lightning.distillers.recognition import RecognitionDistiller
from kd_lightning.distillers.vocoding import VocodingDistiller
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.vocoder import Vocoder
from kd_lightning.teachers.ensemble import Ensemble
from kd_lightning.teachers.finished_run import some


def agreement(distiller: Distiller, datamodule: Any) -> Iterator[Finding]:
    """What has to be the same, and what may differ. What must not differ was refused when all this was built.

    Args:
        distiller: with student and teacher.
        datamodule: set up.
    """
    yield from _classes(distiller, datamodule)
    yield from _features(distiller)
    yield ok("sample rate", f"{datamodule.sample_rate} Hz of corpus and networks")  # or they are not built
    yield from _frames(distiller)


def _classes(distiller: Distiller, datamodule: Any) -> Iterator[Finding]:
    count, teacher = len(datamodule.classes), distiller.teacher
    if isinstance(distiller, VocodingDistiller):
        return
    if not isinstance(distiller, RecognitionDistiller):
        kind = "tokens" if hasattr(datamodule, "tokens") else "classes"
        same = f", the teacher's are the same {count}" if teacher is not None else ""
        yield ok(kind, f"{count}{same}")
        return
    if teacher is None:
        yield ok("tokens", f"{count}")
    elif distiller.shares_tokens:
        yield ok("tokens", f"{count}, the teacher's are the same {count}")
    else:
        theirs, ours = distiller.hearing.pieces, datamodule.classes
        yield ok(
            "tokens",
            f"{count} of the student's, {len(theirs)} of the teacher's, which lacks "
            f"{some(sorted(set(ours) - set(theirs)))}: it teaches by its text",
        )


def _features(distiller: Distiller) -> Iterator[Finding]:
    ours = _settings(distiller.student)
    yield ok("features", ", ".join(f"{key} {value}" for key, value in ours.items() if key != "sample_rate"))
    members: list[Any] = [distiller.teacher]
    if isinstance(distiller.teacher, Ensemble):
        members = [*distiller.teacher.members]
    for other, role in [*((member, "teacher") for member in members), (_vocoder(distiller), "vocoder")]:
        if other is None:
            continue
        theirs = _settings(other)
        differ = [f"{key} {theirs.get(key)}" for key in theirs if theirs.get(key) != ours.get(key)]
        if not differ:
            yield ok("features", f"the {role}'s are the same")
        else:
            yield warning(
                "features",
                f"the {role} hears others ({', '.join(differ)}): each network gets its own, at the cost of computing "
                "both; choose the same frontend unless that is meant",
            )


def _settings(model: Any) -> dict[str, Any]:
    settings: dict[str, Any] = model.frontend.settings
    return settings


def _vocoder(distiller: Distiller) -> Vocoder | None:
    """The network that makes mels heard, where one was named."""
    vocoder = getattr(distiller, "vocoder", None)
    return vocoder if isinstance(vocoder, Vocoder) else None


def _frames(distiller: Distiller) -> Iterator[Finding]:
    """How many frames a second each network gives."""
    student, teacher = distiller.student, distiller.teacher
    if not isinstance(student, Recogniser) or not hasattr(student.network, "subsampling"):
        return
    ours = 1 / student.seconds_per_frame
    said = f"{ours:.4g} a second of the student's"
    if isinstance(teacher, Recogniser) and hasattr(teacher.network, "subsampling"):
        theirs = 1 / teacher.seconds_per_frame
        same = "the teacher's are as many" if theirs == ours else f"{theirs:.4g} of the teacher's, resampled"
        said += f", {same}"
    yield ok("frames", said)
