"""The same held-out sentences in every stage's voice, to hear and to see."""

from collections.abc import Mapping

from kd_lightning.files import safe_name
from kd_lightning.reports.audio import MOST, audio_files, embedded
from kd_lightning.reports.formats import Unit, plain, shortened
from kd_lightning.reports.html import Heard, Plot, Section, Voice, plot
from kd_lightning.reports.runs import Run
from kd_lightning.reports.spectrograms import beside_recording, read_spectrograms

RECORDING = "recording"
# Sentences on the page: each has a picture in two themes.
SENTENCES = 6


def listen(runs: Mapping[str, Run], metric: str, unit: Unit) -> list[Section]:
    """The section where stages are heard; none where no run kept what its network said.

    Sentences that most stages kept come first, in the order of their ids.

    Args:
        runs: by stage.
        metric: key of the measure that stands beside each voice.
        unit: what it is shown in.
    """
    kept = {stage: _kept(run) for stage, run in runs.items()}
    cuts = sorted(
        set().union(*kept.values()), key=lambda cut: (-sum(cut in there for there in kept.values()), cut)
    )[:SENTENCES]
    if not cuts:
        return []
    folders = [run.folder for run in runs.values()]
    wanted = {}
    for cut in cuts:
        wanted[cut, RECORDING] = audio_files(folders, cut, ".reference")
        wanted |= {(cut, stage): audio_files([run.folder], cut) for stage, run in runs.items()}
    audio, left_out = embedded(wanted)
    text = ["The same test sentences in the voice of each stage, beside the recording."]
    if left_out:
        text.append(
            f"The page holds at most {MOST / 1e6:.0f} MB of audio and plays {len(audio)} of these files; "
            f"{len(left_out)} more are in the folders audio/ of the runs."
        )
    heard = [_heard(number, cut, runs, audio, metric, unit) for number, cut in enumerate(cuts, start=1)]
    return [Section("Listen", text, [], [], heard=heard)]


def _kept(run: Run) -> set[str]:
    """The test cuts that a run kept audio or spectrograms of."""
    names = {path.stem for folder in ("audio", "spectrograms") for path in (run.folder / folder).glob("*")}
    return {cut for cut in run.predictions.cuts if safe_name(cut) in names} if names else set()


def _heard(
    number: int,
    cut: str,
    runs: Mapping[str, Run],
    audio: Mapping[tuple[str, str], str],
    metric: str,
    unit: Unit,
) -> Heard:
    """One sentence."""
    said, speaker, voices = "", "", []
    for stage, run in runs.items():
        rows = (run.predictions.cuts == cut).nonzero()[0]
        if not len(rows):
            continue
        row = rows[0]
        said, speaker = run.predictions.references[row], run.predictions.speakers[row]
        measured, heard = run.predictions.measured.get(metric), run.predictions.outputs[row]
        notes = [] if measured is None else [f"{unit.written(measured[row])} {unit.name}"]
        notes += [f"heard: {plain(heard)}"] if heard else []
        voices.append(Voice(stage, " \N{MIDDLE DOT} ".join(notes), audio.get((cut, stage))))
    recording = Voice(RECORDING, "", audio.get((cut, RECORDING)))
    title = [plain(said)] if said else []
    title += [plain(cut), f"speaker {shortened(speaker)}"]
    return Heard(" \N{MIDDLE DOT} ".join(title), [recording, *voices], _picture(number, cut, runs))


def _picture(number: int, cut: str, runs: Mapping[str, Run]) -> Plot | None:
    found = {stage: read_spectrograms(run.folder, cut) for stage, run in runs.items()}
    spoken = {stage: said for stage, said in found.items() if said is not None}
    if not spoken:
        return None
    attended = any(said.attention is not None for said in spoken.values())
    beside = "; the decoders' attention beside them" if attended else ""
    return plot(
        f"sentence_{number}",
        f"Mel spectrograms of sentence {number}: the recording, {', '.join(spoken)}{beside}.",
        lambda theme: beside_recording(spoken, theme),
        colours=64,
    )
