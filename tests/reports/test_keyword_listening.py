"""What the student lost can be heard, where a run kept it; and labels of a plot can be read."""

import json

import numpy as np
import pytest
from matplotlib.text import Annotation
from run_folders import write_run
from test_recognition_page import write_audio

from kd_lightning.reports import audio
from kd_lightning.reports.comparison import read_stages
from kd_lightning.reports.keyword.listening import lost_clips
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.plots import metric_against_size
from kd_lightning.reports.theme import LIGHT, themed

WORDS = ["yes", "no"]


@pytest.fixture
def folder(tmp_path):
    """A teacher that is always right, and a student that is wrong of the first eight of twelve, less and less sure."""
    for stage in ("teacher", "finetune"):
        write_run(tmp_path / stage, stage, cuts=12, words=WORDS, speakers=3)
        path, lines = tmp_path / stage / "predictions.jsonl", []
        for place, line in enumerate(path.read_text().splitlines()):
            row = json.loads(line)
            right = stage == "teacher" or place >= 8
            output = row["reference"] if right else WORDS[row["reference"] == "yes"]
            lines.append(
                json.dumps(row | {"output": output, "score": 0.95 - 0.05 * place, "cut": f"clip{place}"})
            )
        path.write_text("\n".join(lines))
    return tmp_path


def heard(folder) -> list:
    return lost_clips(read_stages(folder)[0])


def test_lost_clips_come_with_the_surest_mistake_first(folder):
    for cut in ("clip5", "clip1", "clip9"):
        write_audio(folder / "finetune", cut)
    write_audio(folder / "teacher", "clip3")
    (section,) = heard(folder)
    assert "Of 8 clips" in section.text[0]
    (block,) = section.heard
    assert [voice.note.split(" · ")[0] for voice in block.voices] == ["90 % sure", "80 % sure", "70 % sure"]
    assert [voice.name for voice in block.voices] == ["no → yes"] * 3  # odd clips say no; clip9 is right
    assert all(voice.audio.startswith("data:audio/wav;base64,") for voice in block.voices)


def test_nothing_is_heard_without_audio_without_a_teacher_or_without_a_loss(folder):
    assert heard(folder) == []
    write_audio(folder / "finetune", "clip9")
    assert heard(folder) == []
    write_audio(folder / "finetune", "clip1")
    runs, _ = read_stages(folder)
    assert lost_clips({"finetune": runs["finetune"]}) == []
    assert lost_clips({"teacher": runs["teacher"]}) == []


def test_clips_beyond_the_room_of_the_page_are_left_out(folder, monkeypatch):
    for place in range(8):
        content = write_audio(folder / "finetune", f"clip{place}")
    monkeypatch.setattr(audio, "MOST", 2 * (len(content) * 4 // 3 + 40))
    (section,) = heard(folder)
    assert len(section.heard[0].voices) == 2


def test_labels_of_points_that_lie_together_hide_no_other_and_no_point():
    def row(stage: str, size: int, accuracy: float) -> dict:
        return {"stage": stage, "size_bytes": size, "metrics": {"accuracy": accuracy}, "intervals": {}}

    rows = [row("teacher", 1_200_000, 0.9), row("baseline", 43_000, 0.75)]
    rows += [row("distill", 43_000, 0.83), row("finetune", 43_000, 0.83)]
    exports = [
        row("finetune", size, accuracy) | {"format": "onnx", "precision": precision}
        for precision, size, accuracy in (
            ("fp32", 95_000, 0.83),
            ("int8", 86_000, 0.828),
            ("fp16", 90_000, 0.829),
        )
    ]
    with themed(LIGHT):
        figure = metric_against_size({"rows": rows, "exports": exports}, task_of("keyword"), LIGHT)
        figure.draw_without_rendering()
        (axes,) = figure.axes
        labels = [text for text in axes.texts if isinstance(text, Annotation)]
        boxes = [label.get_window_extent() for label in labels]
        assert len({label.get_text() for label in labels}) == 7
        for place, box in enumerate(boxes):
            assert box.count_overlaps(boxes[:place]) == 0
        points = axes.transData.transform(
            [(one["size_bytes"], one["metrics"]["accuracy"]) for one in rows + exports]
        )
        assert not any(box.contains(*point) for box in boxes for point in np.asarray(points))
