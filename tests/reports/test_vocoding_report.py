"""What the report says of vocoders: copy synthesis, with what was measured and nothing that was not."""

import numpy as np
import pytest
from speech_folders import said, write_pipeline, write_speaker
from test_page import parsed, printed, strict

from kd_lightning.reports.comparison import compare
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.page import write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(write_pipeline(tmp_path_factory.mktemp("runs") / "my_run", "vocoding"))


def test_the_quality_of_a_vocoder_is_distortion_distance_and_intelligibility(report):
    comparison = strict((report / "comparison.json").read_text())
    table = task_of("vocoding").quality(comparison)
    assert table.columns == ["stage", "network", "MCD dB [95 %]", "STFT distance [95 %]", "STOI [95 %]"]
    for line, row in zip(table.rows, comparison["rows"], strict=True):
        rows = said(row["stage"], "vocoding")
        for key, cell, digits in zip(("mcd", "stft_distance", "stoi"), line[2:], (2, 3, 3), strict=True):
            mean = np.mean([one["metrics"][key] for one in rows])
            assert cell.startswith(f"{mean:.{digits}f} [")


def test_what_no_stage_measured_has_no_column(tmp_path):
    columns = {}
    for measured in (False, True):
        rows = said("teacher", "vocoding")
        for row in rows:
            row["metrics"] |= {"pesq": 3.1, "round_trip_cer": 0.08} if measured else {}
        write_speaker(tmp_path / str(measured) / "teacher", "teacher", "vocoding", rows)
        (table,) = task_of("vocoding").further_quality(compare(tmp_path / str(measured)))
        columns[measured] = table.columns[1:]
    assert columns[False] == ["F0 RMSE Hz [95 %]", "voicing error % [95 %]"]
    assert columns[True] == ["PESQ [95 %]", *columns[False], "round-trip CER % [95 %]"]


def test_json_page_and_terminal_say_the_same(report):
    comparison = strict((report / "comparison.json").read_text())
    row = comparison["rows"][3]
    low, high = row["intervals"]["stoi"]
    text = printed(comparison)
    assert max(map(len, text.splitlines())) <= 100
    for form in (text, (report / "index.html").read_text()):
        assert f"{row['metrics']['stoi']:.3f} [{low:.3f}, {high:.3f}]" in form
        assert f"Gap recovered: {100 * comparison['gap_recovered']:.0f} %" in form
        assert "tokens" not in form


def test_every_stage_is_heard_and_no_attention_is_drawn(report):
    page = parsed((report / "index.html").read_text())
    assert page.tags.count("audio") == 2 * 5
    assert all(
        link.startswith(("data:image/png;base64,", "data:audio/flac;base64,", "#")) for link in page.links
    )
    markdown = (report / "comparison.md").read_text()
    assert markdown.count("](sentence_") == 2
    assert "heard:" not in markdown
    assert "attention" not in markdown
