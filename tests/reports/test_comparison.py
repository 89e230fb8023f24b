"""What the comparison of a pipeline says, recomputed from the predictions by hand."""

import json
import shutil

import numpy as np
import pytest

from kd_lightning.reports.comparison import compare

STAGES = ("teacher", "baseline", "distill", "finetune")


def rows_of(comparison: dict) -> dict[str, dict]:
    return {row["stage"]: row for row in comparison["rows"]}


def lines_of(folder) -> dict[str, dict]:
    return {
        row["cut"]: row for row in map(json.loads, (folder / "predictions.jsonl").read_text().splitlines())
    }


def rewrite(path, change) -> None:
    """Change every prediction of a run, keep those for which `change` gives one."""
    changed = [change(row) for row in lines_of(path.parent).values()]
    path.write_text("".join(json.dumps(row) + "\n" for row in changed if row))


def test_rows_repeat_what_the_runs_measured(pipeline):
    comparison = compare(pipeline)
    assert [row["stage"] for row in comparison["rows"]] == list(STAGES)
    for stage, row in rows_of(comparison).items():
        measured = json.loads((pipeline / stage / "metrics.json").read_text())
        for key in ("network", "params", "macs", "size_bytes", "latency_ms", "real_time_factor", "steps"):
            assert row[key] == measured[key]
        assert row["metrics"]["f1"] == measured["metrics"]["f1"]
    assert comparison["task"] == "speech_commands"
    assert comparison["corpus"]["name"] == "SpeechCommands"
    assert comparison["corpus"]["embedded"] is True
    assert comparison["corpus"]["labelled_fraction"] == 0.1
    assert comparison["corpus"]["test_cuts"] == 600
    assert comparison["corpus"]["test_speakers"] == 30
    assert rows_of(comparison)["distill"]["notes"] == ["copied 12 of 40 tensors from the teacher"]


def test_agreement_is_the_share_of_cuts_with_the_teachers_output(pipeline):
    rows = rows_of(compare(pipeline))
    teacher, student = lines_of(pipeline / "teacher"), lines_of(pipeline / "finetune")
    same = np.mean([teacher[cut]["output"] == student[cut]["output"] for cut in teacher])
    assert rows["finetune"]["metrics"]["agreement"] == pytest.approx(same)
    low, high = rows["finetune"]["intervals"]["agreement"]
    assert low < same < high
    assert "agreement" not in rows["teacher"]["metrics"]


def test_gap_recovered_is_the_ratio_of_differences(pipeline):
    comparison = compare(pipeline)
    accuracy = {stage: row["metrics"]["accuracy"] for stage, row in rows_of(comparison).items()}
    share = (accuracy["finetune"] - accuracy["baseline"]) / (accuracy["teacher"] - accuracy["baseline"])
    assert comparison["gap_recovered"] == pytest.approx(share)
    low, high = comparison["gap_recovered_interval"]
    assert low < share < high
    differences = {(found["stage"], found["minus"]): found for found in comparison["differences"]}
    gained = differences["finetune", "baseline"]
    assert gained["value"] == pytest.approx(accuracy["finetune"] - accuracy["baseline"])
    assert gained["excludes_zero"] is True
    assert ("distill", "baseline") in differences


def test_no_gap_is_null_with_the_reason(pipeline):
    shutil.copy(pipeline / "baseline" / "predictions.jsonl", pipeline / "teacher" / "predictions.jsonl")
    comparison = compare(pipeline)
    assert comparison["gap_recovered"] is None
    assert any("does not lie above zero" in note for note in comparison["notes"])


def test_flips_add_up_to_the_difference_in_accuracy(pipeline):
    comparison = compare(pipeline)
    accuracy = {stage: row["metrics"]["accuracy"] for stage, row in rows_of(comparison).items()}
    for found in comparison["flips"]:
        change = (found["gained"] - found["lost"]) / found["cuts"]
        assert change == pytest.approx(accuracy[found["to"]] - accuracy[found["from"]])
        for part in ("by_word", "by_noise"):
            assert sum(row["lost"] for row in found[part]) == found["lost"]
            assert sum(row["gained"] for row in found[part]) == found["gained"]
            assert sum(row["cuts"] for row in found[part]) == found["cuts"]
    assert [(found["from"], found["to"]) for found in comparison["flips"]] == [
        ("teacher", "finetune"),
        ("baseline", "finetune"),
    ]


def test_noise_levels_bound_the_signal_to_noise_ratio(pipeline):
    levels = {19.9: "15 dB and more", 15.0: "15 dB and more", 14.9: "5 to 15 dB", 5.0: "5 to 15 dB",
              4.9: "-5 to 5 dB", -5.0: "-5 to 5 dB", -5.1: "below -5 dB"}  # fmt: skip
    for stage in STAGES:
        place = iter(range(600))
        rewrite(
            pipeline / stage / "predictions.jsonl",
            lambda row, place=place: row | {"snr": [*levels, None][next(place) % 8]},
        )
    found = {level["noise"]: level["cuts"] for level in compare(pipeline)["noise"]}
    assert found == {
        "clean or unknown": 75,
        "15 dB and more": 150,
        "5 to 15 dB": 150,
        "-5 to 5 dB": 150,
        "below -5 dB": 75,
    }


def test_a_corpus_without_noise_levels_has_no_noise_table(pipeline):
    for stage in STAGES:
        rewrite(pipeline / stage / "predictions.jsonl", lambda row: row | {"snr": None})
    comparison = compare(pipeline)
    assert comparison["noise"] == []
    assert comparison["flips"][0]["by_noise"] == []


def test_the_worst_confusion_is_the_most_frequent_one(pipeline):
    for stage in STAGES:
        rewrite(
            pipeline / stage / "predictions.jsonl",
            lambda row: row | {"output": "off" if row["reference"] == "on" else row["reference"]},
        )
    worst = compare(pipeline)["confusions"]
    assert worst == [{"reference": "on", "output": "off", "cuts": 30, "share": 1.0, "teacher_cuts": 30}]


def test_missing_stages_leave_the_rest(pipeline):
    shutil.rmtree(pipeline / "teacher")
    shutil.rmtree(pipeline / "distill")
    comparison = compare(pipeline)
    assert [row["stage"] for row in comparison["rows"]] == ["baseline", "finetune"]
    assert comparison["gap_recovered"] is None
    assert any("missing: teacher" in note for note in comparison["notes"])
    assert comparison["differences"][0]["stage"] == "finetune"


def test_a_teacher_of_another_pipeline_is_found_by_the_students_config(pipeline, tmp_path):
    expected = compare(pipeline)
    elsewhere = (pipeline / "teacher").rename(tmp_path / "other_teacher")
    path = pipeline / "distill" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"teacher": {"run": str(elsewhere)}}))
    comparison = compare(pipeline)
    assert comparison["rows"] == expected["rows"]
    assert comparison["gap_recovered"] == expected["gap_recovered"]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("metrics.json", '{"stage": "distill", "metr'),
        ("metrics.json", "[]"),
        ("metrics.json", "[" * 100_000),
        ("metrics.json", '{"metrics": {"accuracy": NaN}}'),
        ("metrics.json", b"\xff\xfe\x00"),
        ("metrics.json", None),
        ("predictions.jsonl", '{"cut": "a", "reference": "yes", "outp'),
        ("predictions.jsonl", '{"cut": "a", "reference": "yes"}\n'),
        ("predictions.jsonl", ""),
        ("predictions.jsonl", b"\xff\xfe\x00\n"),
        ("predictions.jsonl", None),
        (
            "predictions.jsonl",
            2
            * '{"cut": "a", "reference": "yes", "output": "yes", "speaker": "b", "score": 1, "snr": null}\n',
        ),
    ],
)
def test_a_corrupt_run_is_left_out_and_its_file_named(pipeline, file, content):
    path = pipeline / "distill" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    comparison = compare(pipeline)
    assert [row["stage"] for row in comparison["rows"]] == ["teacher", "baseline", "finetune"]
    assert any(note.startswith(f"distill is left out: distill/{file}") for note in comparison["notes"])
    assert comparison["gap_recovered"] is not None


@pytest.mark.parametrize("file", ["config.json", "deploy/onnx_fp32.json"])
def test_a_corrupt_side_file_is_a_note_and_the_row_stays(pipeline, file):
    (pipeline / "finetune" / file).write_text('{"format": ')
    comparison = compare(pipeline)
    assert "finetune" in rows_of(comparison)
    assert any(file.rsplit("/", 1)[-1] in note for note in comparison["notes"])


def test_a_half_written_curve_line_is_counted(pipeline):
    path = pipeline / "finetune" / "curves.csv"
    path.write_text(path.read_text() + "410,train/lo")
    assert any("1 lines could not be read" in note for note in compare(pipeline)["notes"])


def test_metrics_and_predictions_of_two_evaluations_are_noticed(pipeline):
    path = pipeline / "baseline" / "metrics.json"
    results = json.loads(path.read_text())
    results["metrics"]["accuracy"] = 0.5
    path.write_text(json.dumps(results))
    assert any("not of one evaluation" in note for note in compare(pipeline)["notes"])


def test_other_cuts_are_compared_where_they_overlap(pipeline):
    rewrite(
        pipeline / "teacher" / "predictions.jsonl",
        lambda row: row if int(row["cut"].rsplit("_", 1)[1]) < 400 else None,
    )
    comparison = compare(pipeline)
    assert any(note.startswith("finetune scored 600 cuts, of which 400") for note in comparison["notes"])
    assert comparison["flips"][0]["cuts"] == 400


def test_disjoint_cuts_are_not_compared(pipeline):
    rewrite(pipeline / "teacher" / "predictions.jsonl", lambda row: row | {"cut": "other/" + row["cut"]})
    comparison = compare(pipeline)
    assert len(comparison["rows"]) == 4
    assert comparison["differences"] == comparison["flips"] == []
    assert any("no test cut is common" in note for note in comparison["notes"])


def test_other_labels_are_not_compared(pipeline):
    rewrite(pipeline / "teacher" / "predictions.jsonl", lambda row: row | {"reference": "unknown"})
    comparison = compare(pipeline)
    assert comparison["differences"] == []
    assert any("different labels" in note for note in comparison["notes"])


def test_no_runs_is_an_error_that_says_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Looked for teacher/metrics\.json"):
        compare(tmp_path)
    (tmp_path / "teacher").mkdir()
    with pytest.raises(FileNotFoundError, match=r"teacher/metrics\.json is missing"):
        compare(tmp_path)


def test_steps_that_do_not_match_are_noted(pipeline):
    assert not any("not step-matched" in note for note in compare(pipeline)["notes"])
    path = pipeline / "baseline" / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"steps": 900}))
    assert any("not step-matched" in note for note in compare(pipeline)["notes"])


def test_exports_are_listed_under_their_stage(pipeline):
    (export,) = compare(pipeline)["exports"]
    assert (export["stage"], export["format"], export["precision"]) == ("finetune", "onnx", "fp32")
    assert export["metrics"] == {"accuracy": 0.88}
    assert export["max_abs_difference"] == 3.2e-6
