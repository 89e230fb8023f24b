"""Clips that the teacher had right and the student has not, to hear what is so hard about them."""

from collections.abc import Mapping

import numpy as np

from kd_lightning.files import safe_name
from kd_lightning.reports.aligned import CLEAN, align
from kd_lightning.reports.audio import audio_files, embedded
from kd_lightning.reports.formats import plain, shortened
from kd_lightning.reports.html import Heard, Section, Voice
from kd_lightning.reports.runs import Run
from kd_lightning.reports.task import last_student

# Of which the page plays as many as are not too large for it.
CLIPS = 12


def lost_clips(runs: Mapping[str, Run]) -> list[Section]:
    """The section where lost clips are heard, the surest mistakes first; none where no run kept the audio of any.

    Args:
        runs: by stage.
    """
    student = last_student(runs)
    kept = {path.stem for run in runs.values() for path in (run.folder / "audio").glob("*")}
    if student is None or "teacher" not in runs or not kept:
        return []
    try:
        aligned = align({stage: runs[stage].predictions for stage in ("teacher", student)})
    except ValueError:
        return []
    lost = np.flatnonzero(aligned.correct("teacher") & ~aligned.correct(student))
    sure = dict(
        zip(runs[student].predictions.cuts, np.nan_to_num(runs[student].predictions.scores), strict=True)
    )
    order = sorted(lost, key=lambda place: (-sure[aligned.cuts[place]], aligned.cuts[place]))
    wanted = [place for place in order if safe_name(aligned.cuts[place]) in kept][:CLIPS]
    folders = [run.folder for run in runs.values()]
    audio, _ = embedded({place: audio_files(folders, aligned.cuts[place]) for place in wanted})
    if not audio:
        return []
    voices = []
    for place, sound in audio.items():
        said, heard = (plain(words[place]) for words in (aligned.references, aligned.outputs[student]))
        notes = [
            f"{100 * sure[aligned.cuts[place]]:.0f} % sure",
            f"speaker {shortened(aligned.speakers[place], 12)}",
        ]
        notes += [aligned.noise[place]] if aligned.noise[place] != CLEAN else []
        voices.append(Voice(f"{said} \N{RIGHTWARDS ARROW} {heard}", " \N{MIDDLE DOT} ".join(notes), sound))
    text = [
        f"Of {len(lost):,} clips that the teacher has right and {student} has wrong: the word that was said, and the "
        "one it was taken for."
    ]
    return [
        Section(
            "Hear what the student lost", text, [], [], heard=[Heard("The surest mistakes first", voices)]
        )
    ]
