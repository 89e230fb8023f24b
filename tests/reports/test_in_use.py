"""What a spotter does in use, in the report: the same numbers in every form, and nothing taken on trust."""

import json
from pathlib import Path

import numpy as np
import pytest
from run_folders import SHARES, write_run

from kd_lightning.metrics.streaming import Detector, Events, sweep
from kd_lightning.reports.page import write_report
from kd_lightning.reports.streaming import (
    MISS_RATES,
    det_curves,
    streaming_results,
    streaming_row,
    streaming_table,
)
from kd_lightning.reports.strict_json import to_json
from kd_lightning.reports.theme import LIGHT, themed

KEYWORDS = ["yes", "no"]
AUDIO = {"minutes": 10.0, "words": 240, "background": "background noise", "snr": [20, 10], "seed": 0}


def results(strength: float, count: int = 120, audio: dict | None = None) -> dict:
    """Streaming results of a detector whose scores rise by ``strength`` after a keyword."""
    rng = np.random.default_rng(0)
    times = 1 + 0.1 * np.arange(50 * count)
    onset = 2.0 + 4.9 * np.arange(count)
    events = Events(np.arange(count) % 2, onset, onset + 0.4)
    scores = rng.random((len(times), 2)) ** 12
    scores[np.searchsorted(times, events.offset + 0.2), events.keyword] += strength
    return streaming_results(
        sweep(scores, times, events, Detector()), KEYWORDS, audio or AUDIO, Detector()._asdict()
    )


@pytest.fixture
def listened(tmp_path: Path) -> Path:
    """A pipeline whose stages have listened to long audio, the better ones to better effect."""
    folder = tmp_path / "runs" / "my_run"
    for stage, share in SHARES.items():
        write_run(folder / stage, stage, share)
        (folder / stage / "streaming.json").write_text(to_json(results(share)))
    return folder


def test_the_file_holds_what_was_measured():
    found = results(0.6)
    assert [point["miss_rate"] for point in found["operating_points"]] == list(MISS_RATES)
    by_keyword = np.array([one["false_alarms_per_hour"] for one in found["keywords"]])
    assert found["operating_points"][2]["false_alarms_per_hour"] == pytest.approx(by_keyword[:, 2].mean())
    assert [one["events"] for one in found["keywords"]] == [60, 60]
    assert json.loads(to_json(found)) == found


def test_too_few_events_are_said_with_the_minutes_that_would_do():
    found = results(0.6, count=60)
    assert np.isnan(found["operating_points"][0]["false_alarms_per_hour"])
    assert any(
        "2 % missed needs 50 events" in note and "minutes=17 or more" in note for note in found["notes"]
    )
    assert not any(note.startswith("5 %") for note in found["notes"])


def test_white_noise_in_place_of_the_background_is_said():
    white = results(0.6, audio=AUDIO | {"background": "white noise"})
    assert any("no background noise" in note for note in white["notes"])
    assert not any("no background noise" in note for note in results(0.6)["notes"])


def test_the_report_shows_a_row_and_a_curve_a_stage(listened):
    report = write_report(listened)
    comparison = json.loads((report / "comparison.json").read_text())
    assert [row["stage"] for row in comparison["streaming"]] == list(SHARES)
    rates = {
        row["stage"]: row["operating_points"][1]["false_alarms_per_hour"] for row in comparison["streaming"]
    }
    assert rates["teacher"] < rates["finetune"] < rates["baseline"]
    row = streaming_table(comparison["streaming"]).rows[0]
    for text in ((report / "index.html").read_text(), (report / "comparison.md").read_text()):
        assert row[2] in text.replace("\\[", "[").replace("\\]", "]")
        assert "10 min of audio made of the test split" in text
    assert (report / "det.png").read_bytes().startswith(b"\x89PNG")
    assert not any("do not compare" in note for note in comparison["notes"])


def test_stages_that_heard_other_audio_are_not_compared_in_silence(listened):
    (listened / "baseline" / "streaming.json").write_text(to_json(results(0.5, audio=AUDIO | {"snr": [40]})))
    comparison = json.loads((write_report(listened) / "comparison.json").read_text())
    assert any("did not listen to the same audio" in note for note in comparison["notes"])


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"audio": 3, "operating_points": {"a": 1}, "det": [1], "keywords": 7, "notes": "x"}',
        '{"operating_points": [3, {"miss_rate": "0.05", "interval": [1]}], "det": {"miss_rate": [0.1, null]}}',
    ],
)
def test_a_damaged_file_costs_its_row_at_most(listened, content):
    (listened / "teacher" / "streaming.json").write_text(content)
    assert (write_report(listened) / "index.html").is_file()


def test_the_curve_is_drawn_over_the_points_of_the_file():
    row = streaming_row("teacher", results(0.6))
    with themed(LIGHT):
        figure = det_curves([row], LIGHT)
    (axes,) = figure.axes
    alarms, misses = axes.lines[0].get_data()
    kept = np.array(row["det"]["false_alarms_per_hour"]) > 0
    np.testing.assert_array_equal(alarms, np.array(row["det"]["false_alarms_per_hour"])[kept])
    np.testing.assert_array_equal(misses, np.array(row["det"]["miss_rate"])[kept])
    assert axes.get_xscale() == "log"
    # Equal steps of the normal deviate are equal steps on the axis.
    ticks = axes.transData.transform([(1.0, rate) for rate in (0.0227501, 0.1586553, 0.5)])[:, 1]
    assert ticks[1] - ticks[0] == pytest.approx(ticks[2] - ticks[1], rel=1e-4)


def test_the_point_of_the_table_lies_on_the_curve():
    found = results(0.6)
    curve = dict(zip(found["det"]["miss_rate"], found["det"]["false_alarms_per_hour"], strict=True))
    point = found["operating_points"][1]
    assert curve[0.05] == pytest.approx(point["false_alarms_per_hour"])
