"""What the comparison of recognisers says, recomputed with jiwer from the predictions."""

import json
import shutil
from collections import Counter

import jiwer
import numpy as np
import pytest
from recognition_folders import WRONG, spoken, write_pipeline, write_recogniser

from kd_lightning.reports.comparison import compare
from kd_lightning.reports.recognition.tables import by_speaker


@pytest.fixture
def pipeline(tmp_path):
    return write_pipeline(tmp_path / "runs" / "my_run")


def rows_of(comparison: dict) -> dict[str, dict]:
    return {row["stage"]: row for row in comparison["rows"]}


def texts_of(rows: list[dict]) -> tuple[list[str], list[str]]:
    return [row["reference"] for row in rows], [row["output"] for row in rows]


def line(cut: str, reference: str, output: str, speaker: str = "a", **others: object) -> dict:
    return {"cut": cut, "reference": reference, "output": output, "speaker": speaker, "score": 0.5, **others}


def compared(folder, **stages: list[dict]) -> dict:
    """The comparison of stages with these predictions."""
    for stage, rows in stages.items():
        write_recogniser(folder / stage, stage, rows)
    return compare(folder)


def test_rates_are_those_of_jiwer_on_the_predictions(pipeline):
    for path in pipeline.glob("*/metrics.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"metrics": {"loss": 1.0}}))
    comparison = compare(pipeline)
    assert comparison["metric"] == "wer"
    for stage, row in rows_of(comparison).items():
        texts = texts_of(spoken(WRONG[stage]))
        oracle = jiwer.process_words(*texts)
        words = oracle.substitutions + oracle.deletions + oracle.hits
        assert row["metrics"]["wer"] == pytest.approx(oracle.wer)
        assert row["metrics"]["cer"] == pytest.approx(jiwer.cer(*texts))
        for kind in ("substitutions", "deletions", "insertions"):
            assert row["metrics"][kind] == pytest.approx(getattr(oracle, kind) / words)
        for key in ("wer", "cer"):
            low, high = row["intervals"][key]
            assert low < row["metrics"][key] < high


def test_an_interval_of_speakers_who_are_all_alike_has_no_width(tmp_path):
    rows = [line(f"{cut}", "one two three four", "one two three", f"{cut % 5}") for cut in range(20)]
    (row,) = compared(tmp_path, baseline=rows)["rows"]
    assert row["metrics"]["wer"] == row["metrics"]["deletions"] == 0.25
    assert row["intervals"]["wer"] == [0.25, 0.25]


def test_the_test_set_is_described_by_its_words_and_seconds(pipeline):
    corpus, rows = compare(pipeline)["corpus"], spoken(0.2)
    assert corpus["test_words"] == sum(len(row["reference"].split()) for row in rows)
    assert corpus["test_seconds"] == pytest.approx(sum(row["seconds"] for row in rows))
    assert (corpus["tokens"], corpus["test_cuts"], corpus["test_speakers"]) == (29, 120, 12)


def test_multiply_accumulates_are_per_second_of_audio_where_the_clip_is_known(pipeline):
    path = pipeline / "baseline" / "metrics.json"
    results = json.loads(path.read_text())
    del results["clip_seconds"]
    path.write_text(json.dumps(results))
    rows = rows_of(compare(pipeline))
    assert rows["teacher"]["macs_per_second"] == rows["teacher"]["macs"] / 2.0
    assert rows["baseline"]["macs_per_second"] is None


def test_agreement_is_measured_against_what_the_teacher_recognised(pipeline):
    rows = rows_of(compare(pipeline))
    teacher, student = texts_of(spoken(WRONG["teacher"]))[1], texts_of(spoken(WRONG["finetune"]))[1]
    metrics = rows["finetune"]["metrics"]
    assert metrics["agreement"] == np.mean(
        [one == other for one, other in zip(teacher, student, strict=True)]
    )
    assert metrics["wer_to_teacher"] == pytest.approx(jiwer.wer(teacher, student))
    low, high = rows["finetune"]["intervals"]["wer_to_teacher"]
    assert low < metrics["wer_to_teacher"] < high
    assert "wer_to_teacher" not in rows["teacher"]["metrics"]


def test_fewer_errors_are_a_negative_difference_and_a_positive_gap(pipeline):
    comparison = compare(pipeline)
    wer = {stage: jiwer.wer(*texts_of(spoken(share))) for stage, share in WRONG.items()}
    found = {(one["stage"], one["minus"]): one for one in comparison["differences"]}
    gained = found["finetune", "baseline"]
    assert gained["metric"] == "wer"
    assert gained["value"] == pytest.approx(wer["finetune"] - wer["baseline"])
    assert gained["interval"][0] < gained["value"] < gained["interval"][1] < 0
    assert gained["excludes_zero"] is True
    share = (wer["baseline"] - wer["finetune"]) / (wer["baseline"] - wer["teacher"])
    assert comparison["gap_recovered"] == pytest.approx(share)
    low, high = comparison["gap_recovered_interval"]
    assert low < share < high


def test_a_teacher_that_makes_as_many_errors_leaves_no_gap(pipeline):
    shutil.copy(pipeline / "baseline" / "predictions.jsonl", pipeline / "teacher" / "predictions.jsonl")
    comparison = compare(pipeline)
    assert comparison["gap_recovered"] is None
    assert any("does not lie below zero" in note for note in comparison["notes"])
    assert comparison["utterances"]


def test_the_errors_of_all_groups_are_the_errors_of_all(tmp_path):
    stages = {stage: spoken(share, speakers=8) for stage, share in WRONG.items()}
    comparison = compared(tmp_path, **stages)
    words = sum(len(row["reference"].split()) for row in stages["teacher"])
    for part in ("noise", "lengths", "speakers"):
        groups = comparison[part]
        assert sum(group["cuts"] for group in groups) == 120
        assert sum(group["words"] for group in groups) == words
        for stage, rows in stages.items():
            errors = sum(group["wer"][stage] * group["words"] for group in groups)
            assert errors / words == pytest.approx(jiwer.wer(*texts_of(rows)))


def test_each_group_has_the_rate_of_its_own_cuts(pipeline):
    comparison, rows = compare(pipeline), spoken(WRONG["finetune"])
    quiet = [row for row in rows if row["snr"] == 8.0]
    level = next(group for group in comparison["noise"] if group["noise"] == "5 to 15 dB")
    assert level["wer"]["finetune"] == pytest.approx(jiwer.wer(*texts_of(quiet)))
    speaker = comparison["speakers"][0]
    own = [row for row in rows if row["speaker"] == speaker["speaker"]]
    assert speaker["wer"]["finetune"] == pytest.approx(jiwer.wer(*texts_of(own)))


def test_lengths_are_quarters_of_the_test_set_in_seconds_or_else_in_words(tmp_path):
    rows = [
        line(f"{cut}", "a " * (cut // 10 + 1), "a " * (cut // 10 + 1), f"{cut % 3}", seconds=1.0 + cut // 10)
        for cut in range(40)
    ]
    found = compared(tmp_path, baseline=rows)["lengths"]
    assert [(group["length"], group["cuts"]) for group in found] == [
        ("up to 1 s", 10),
        ("1.1 to 2 s", 10),
        ("2.1 to 3 s", 10),
        ("over 3 s", 10),
    ]
    found = compared(tmp_path, baseline=[row | {"seconds": None} for row in rows])["lengths"]
    assert [group["length"] for group in found] == [
        "up to 1 words",
        "2 words",
        "3 words",
        "over 3 words",
    ]


def test_one_short_utterance_does_not_make_the_worst_speaker(tmp_path):
    rows = [line(f"often{cut}", "a b c d", "a b c x", "often") for cut in range(10)]
    rows += [line(f"good{cut}", "a b c d", "a b c d", "good") for cut in range(20)]
    rows += [line("once", "yes", "no", "once")]
    speakers = compared(tmp_path, baseline=rows)["speakers"]
    assert [one["speaker"] for one in speakers] == ["often", "once", "good"]
    assert [one["wer"]["baseline"] for one in speakers] == [0.25, 1.0, 0.0]
    # 11 errors in 121 words, so 40 words of the average make 40 / 11.
    assert speakers[0]["errors_beyond_average"] == pytest.approx(10 - 40 / 11)


def test_long_names_of_speakers_are_cut_in_tables_alone(tmp_path):
    name = "0123456789abcdef" * 8
    comparison = compared(
        tmp_path, baseline=[line("1", "a b", "a c", name), line("2", "a b", "a b", "short")]
    )
    assert {one["speaker"] for one in comparison["speakers"]} == {name, "short"}
    assert {row[0] for row in by_speaker(comparison).rows} == {name[:23] + "…", "short"}


def test_confused_lost_and_added_words_are_counted_by_kind(tmp_path):
    student = [
        line("1", "the cat sat", "the hat sat"),
        line("2", "a cat ran", "a hat ran"),
        line("3", "the cat", "cat"),
        line("4", "a boat", "a uh boat uh"),
    ]
    teacher = [row | {"output": row["reference"] if row["cut"] != "2" else "a hat ran"} for row in student]
    found = compared(tmp_path, teacher=teacher, finetune=student)
    assert found["confusions"] == [
        {"reference": "cat", "output": "hat", "times": 2, "share": 2 / 3, "teacher_times": 1}
    ]
    assert found["deleted"] == [
        {"reference": "the", "output": None, "times": 1, "share": 0.5, "teacher_times": 0}
    ]
    assert found["inserted"] == [
        {"reference": None, "output": "uh", "times": 2, "share": None, "teacher_times": 0}
    ]


def test_counted_words_add_up_to_the_edits_of_jiwer(pipeline):
    found, oracle = compare(pipeline), jiwer.process_words(*texts_of(spoken(WRONG["finetune"])))
    assert sum(one["times"] for one in found["inserted"]) == oracle.insertions
    counted = Counter()
    for chunks, heard in zip(oracle.alignments, oracle.hypotheses, strict=True):
        for chunk in chunks:
            if chunk.type == "insert":
                counted.update(heard[chunk.hyp_start_idx : chunk.hyp_end_idx])
    assert {one["output"]: one["times"] for one in found["inserted"]} == counted


def test_the_utterances_shown_are_those_with_the_largest_difference_in_errors(tmp_path):
    said = "one two three four five six seven eight"
    teacher = [line(f"cut{wrong}", said, said, seconds=2.0) for wrong in range(8)]
    student = [
        row | {"output": " ".join(said.split()[: 8 - wrong])}
        for row, wrong in zip(teacher, range(8), strict=True)
    ]
    # The teacher alone is wrong here: it differs as much as two errors of the student.
    teacher.append(line("other", "a b", ""))
    student.append(line("other", "a b", "a b"))
    found = compared(tmp_path, teacher=teacher, baseline=student, finetune=student)["utterances"]
    assert [one["cut"] for one in found] == ["cut7", "cut6", "cut5", "cut4", "cut3", "cut2", "other", "cut1"]
    assert found[0]["errors"] == {"teacher": 0, "baseline": 7, "finetune": 7}
    assert found[0]["outputs"] == {"teacher": said, "baseline": "one", "finetune": "one"}
    assert found[6]["errors"] == {"teacher": 2, "baseline": 0, "finetune": 0}
    assert found[6]["seconds"] is None


def test_twenty_utterances_are_enough(pipeline):
    assert len(compare(pipeline)["utterances"]) == 20


def test_without_a_teacher_nothing_is_beside_it(pipeline):
    shutil.rmtree(pipeline / "teacher")
    comparison = compare(pipeline)
    assert comparison["utterances"] == []
    assert "agreement" not in rows_of(comparison)["finetune"]["metrics"]
    assert all(one["teacher_times"] is None for one in comparison["confusions"])


def test_the_task_is_found_though_the_last_run_lost_its_config(pipeline):
    (pipeline / "finetune" / "config.json").unlink()
    comparison = compare(pipeline)
    assert comparison["task"] == "recognition"
    assert 0 < rows_of(comparison)["finetune"]["metrics"]["wer"] < 1


def test_runs_that_were_scored_otherwise_are_noticed(pipeline):
    path = pipeline / "teacher" / "metrics.json"
    results = json.loads(path.read_text())
    for stage, version in (("teacher", 1), ("finetune", 2)):
        path = pipeline / stage / "metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"scoring_version": version}))
    assert any("teacher 1, finetune 2" in note for note in compare(pipeline)["notes"])
    (pipeline / "teacher" / "metrics.json").write_text(json.dumps(results | {"metrics": {"wer": 0.5}}))
    assert any("not of one evaluation" in note for note in compare(pipeline)["notes"])


def test_silence_is_recognised_and_judged(tmp_path):
    rows = [line("1", "", ""), line("2", "", "uh"), line("3", "a b", ""), line("4", "a b", "a b")]
    comparison = compared(tmp_path, teacher=rows, finetune=rows)
    assert rows_of(comparison)["finetune"]["metrics"]["wer"] == 0.75
    assert comparison["utterances"] == []
    assert any("one speaker" in note for note in comparison["notes"])
