"""Sweeps: settings, seeds, and the difference to no transfer."""

import io
import json

import numpy as np
import pytest
from rich.console import Console
from run_folders import write_run
from scipy import stats

from kd_lightning.reports.settings import compare_settings
from kd_lightning.reports.sweep import write_sweep_report
from kd_lightning.reports.sweep_tables import caution
from kd_lightning.reports.terminal import print_report, print_sweep

NONE = {0: 0.80, 1: 0.82, 2: 0.79}
LOGITS = {0: 0.84, 1: 0.85, 2: 0.85}


def rows_of(sweep: dict) -> dict[str, dict]:
    return {row["setting"]: row for row in sweep["rows"]}


def test_a_row_a_setting_with_students_t(write_sweep):
    sweep = compare_settings(write_sweep({"transfer=none": NONE, "transfer=logits": LOGITS}))
    rows = rows_of(sweep)
    assert list(rows) == ["transfer=none", "transfer=logits"]
    assert sweep["common"] == ["experiment=speech_commands"]
    values = np.array(list(NONE.values()))
    oracle = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    assert rows["transfer=none"]["metrics"]["accuracy"] == pytest.approx(values.mean())
    assert rows["transfer=none"]["intervals"]["accuracy"] == pytest.approx(list(oracle))
    assert rows["transfer=none"]["seeds"] == [0, 1, 2]


def test_equal_seeds_are_paired_and_others_are_not(write_sweep):
    folder = write_sweep(
        {"transfer=logits": LOGITS, "transfer=none": NONE, "transfer=hints": {5: 0.81, 6: 0.84}}
    )
    rows = rows_of(compare_settings(folder))
    none, logits = list(NONE.values()), list(LOGITS.values())
    paired = stats.ttest_rel(logits, none).confidence_interval()
    assert rows["transfer=logits"]["difference"]["method"] == "paired t"
    assert rows["transfer=logits"]["difference"]["interval"] == pytest.approx([paired.low, paired.high])
    welch = stats.ttest_ind([0.81, 0.84], none, equal_var=False).confidence_interval()
    assert rows["transfer=hints"]["difference"]["method"] == "Welch t"
    assert rows["transfer=hints"]["difference"]["interval"] == pytest.approx([welch.low, welch.high])
    assert rows["transfer=none"]["difference"] is None


def test_each_setting_is_compared_with_its_own_baseline(write_sweep):
    settings = {
        "transfer=none corpus.labelled_fraction=0.1": {0: 0.70, 1: 0.71},
        "transfer=logits corpus.labelled_fraction=0.1": {0: 0.75, 1: 0.77},
        "transfer=none corpus.labelled_fraction=1": {0: 0.90, 1: 0.91},
        "transfer=logits corpus.labelled_fraction=1": {0: 0.90, 1: 0.92},
    }
    rows = rows_of(compare_settings(write_sweep(settings)))
    assert rows["transfer=logits corpus.labelled_fraction=0.1"]["difference"]["value"] == pytest.approx(0.055)
    assert rows["transfer=logits corpus.labelled_fraction=1"]["difference"]["value"] == pytest.approx(0.005)


def test_seeds_needed_follow_from_the_measured_scatter(write_sweep):
    sweep = compare_settings(write_sweep({"transfer=none": NONE, "transfer=logits": LOGITS}))
    variances = [np.var(list(arm.values()), ddof=1) for arm in (NONE, LOGITS)]
    deviation = np.sqrt(np.mean(variances))
    assert sweep["seed_deviation"] == pytest.approx(deviation)
    power = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    assert sweep["seeds_for_one_point"] == np.ceil((power * np.sqrt(2) * deviation / 0.01) ** 2)


def test_unfinished_and_corrupt_jobs_are_listed(write_sweep):
    folder = write_sweep({"transfer=none": NONE, "transfer=logits": LOGITS})
    (folder / "1" / "metrics.json").unlink()
    (folder / "4" / "metrics.json").write_text('{"metrics": {"acc')
    (folder / "5" / "config.json").write_text("{")
    sweep = compare_settings(folder)
    rows = rows_of(sweep)
    assert rows["transfer=none"]["unfinished"] == ["1"]
    assert rows["transfer=none"]["seeds"] == [0, 2]
    assert rows["transfer=logits"]["seeds"] == [0]
    assert [(one["name"], one["kind"]) for one in sweep["left_out"]] == [
        ("1", "unfinished"),
        ("4", "damaged"),
        ("5", "damaged"),
    ]
    assert sweep["jobs"] == 6


def test_a_setting_without_any_finished_run_keeps_its_row(write_sweep):
    folder = write_sweep({"transfer=none": NONE, "transfer=hints": {0: 0.8}})
    (folder / "3" / "metrics.json").unlink()
    row = rows_of(compare_settings(folder))["transfer=hints"]
    assert row["metrics"] == {}
    assert row["unfinished"] == ["3"]
    assert row["difference"] is None
    write_sweep_report(folder)


def test_jobs_are_ordered_by_number_and_seed_zero_is_a_seed(write_sweep):
    folder = write_sweep({f"transfer=arm{arm}": {0: 0.8} for arm in range(11)})
    rows = compare_settings(folder)["rows"]
    assert [row["setting"] for row in rows] == [f"transfer=arm{arm}" for arm in range(11)]
    assert rows[0]["seeds"] == [0]


def test_no_finished_job_is_an_error_that_says_what_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Looked for <job>/config\.json"):
        compare_settings(tmp_path / "nowhere")


def test_the_report_is_written_and_printed(write_sweep):
    folder = write_sweep({"transfer=none": NONE, "transfer=logits": LOGITS, "transfer=hints": {0: 0.8}})
    report = write_sweep_report(folder)
    assert sorted(path.name for path in report.iterdir()) == [
        "comparison.json",
        "comparison.md",
        "index.html",
        "settings.png",
    ]
    json.loads((report / "comparison.json").read_text(), parse_constant=pytest.fail)
    console = Console(file=io.StringIO(), width=100)
    print_report(report, console)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= 100
    assert "84.7 [83.2, 86.1]" in text
    assert "seeds a setting" in text


def test_the_page_has_a_config_and_versions_of_each_code_that_made_runs(write_sweep):
    folder = write_sweep({"transfer=none": NONE, "transfer=logits": LOGITS})
    for number in range(6):
        path = folder / str(number) / "metrics.json"
        made_by = {"commit": "a" * 40 if number < 4 else "b" * 40, "versions": {"torch": "2.11.0"}}
        path.write_text(json.dumps(json.loads(path.read_text()) | made_by))
    report = write_sweep_report(folder)
    found = json.loads((report / "comparison.json").read_text())["provenance"]
    assert [(one["stage"], one["commit"][0]) for one in found] == [("0", "a"), ("4", "b")]
    page = (report / "index.html").read_text()
    assert all(f"Config of {name}" in page for name in ("0", "4"))
    assert "not trained by the same code" in page


def test_every_folder_is_named_with_the_reason(write_sweep):
    folder = write_sweep({"transfer=none": NONE, "transfer=logits": LOGITS})
    (folder / "1" / "metrics.json").unlink()
    (folder / "1" / "train.log").write_text(
        "2026-01-01 10:00:00,000 kd_lightning INFO distill: 1\n"
        "2026-01-01 10:00:09,000 kd_lightning ERROR the stage ended\n"
        "Traceback (most recent call last):\n"
        '  File "stages.py", line 1, in run_stage\n'
        "FloatingPointError: the loss is not finite at step 8\n"
    )
    (folder / "2" / "metrics.json").unlink()
    (folder / "2" / "train.log").write_text(
        "2026-01-01 10:00:09,000 kd_lightning ERROR the stage ended\n"
        "Traceback (most recent call last):\nOSError: disk\n"
        "2026-01-01 11:00:00,000 kd_lightning INFO distill: 2\n"  # tried again, and cut off
    )
    (folder / "3" / "predictions.jsonl").write_text('{"cut": 1}\n')
    (folder / "somebody else's").mkdir()
    (folder / "somebody else's" / "notes.txt").write_text("none")
    (folder / "a model").mkdir()
    (folder / "a model" / "config.json").write_text('{"model_type": "wav2vec2"}')
    (folder / "begun").mkdir()
    (folder / "begun" / "train.log").write_text("2026-01-01 10:00:00,000 kd_lightning INFO distill\n")
    (folder / ".submitit").mkdir()
    (folder / "multirun.yaml").write_text("hydra: {}\n")
    sweep = compare_settings(folder)
    kinds = {one["name"]: one["kind"] for one in sweep["left_out"]}
    assert kinds == {
        "1": "failed",
        "2": "unfinished",
        "3": "damaged",
        "somebody else's": "foreign",
        "a model": "foreign",
        "begun": "unfinished",
    }
    reasons = {one["name"]: one["reason"] for one in sweep["left_out"]}
    assert reasons["1"] == "FloatingPointError: the loss is not finite at step 8"
    assert "predictions.jsonl, line 1" in reasons["3"]
    rows = rows_of(sweep)
    assert rows["transfer=none"]["seeds"] == [0]
    assert rows["transfer=logits"]["seeds"] == [1, 2]
    report = write_sweep_report(folder)
    text = (report / "comparison.md").read_text()
    assert "3 finished runs; left out: 1 failed, 2 unfinished, 1 damaged, 2 foreign" in text
    assert "Left out: 6 of 9 folders" in text
    assert "the loss is not finite at step 8" in (report / "index.html").read_text()


def test_a_sweep_in_which_every_job_failed_says_what_they_said(write_sweep):
    folder = write_sweep({"transfer=none": {0: 0.8}})
    (folder / "0" / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"no finished run.*0: unfinished, cut off"):
        compare_settings(folder)


def test_a_single_run_is_no_sweep(write_sweep):
    folder = write_sweep({"transfer=none": {0: 0.8}})
    with pytest.raises(FileNotFoundError, match="0 is a single run: name the folder that it lies in"):
        compare_settings(folder / "0")


def test_numbers_over_different_test_sets_never_meet(write_sweep):
    folder = write_sweep({"transfer=none": NONE, "transfer=logits": LOGITS})
    for seed, share in enumerate((0.95, 0.96)):
        corpus = {"_target_": "kd_lightning.corpora.speech_commands.SpeechCommands", "root": "/data/sc"}
        config = {
            "overrides": ["experiment=speech_commands", "transfer=hints", f"seed={seed}"],
            "corpus": corpus,
        }
        results = {"metrics": {"accuracy": share}}
        write_run(folder / f"other{seed}", "distill", share, 60, seed=seed, config=config, results=results)
    sweep = compare_settings(folder)
    assert list(rows_of(sweep)) == ["transfer=none", "transfer=logits"]
    (other,) = sweep["others"]
    assert [row["overrides"] for row in other["rows"]] == [["experiment=speech_commands", "transfer=hints"]]
    assert other["rows"][0]["difference"] is None  # that transfer=none was tested on other cuts
    assert "corpus.root: None -> /data/sc" in other["differs"]
    assert "test cuts: 40 -> 60" in other["differs"]
    report = write_sweep_report(folder)
    assert (report / "settings_2.png").is_file()
    assert "Not compared with the runs above" in (report / "comparison.md").read_text()
    console = Console(file=io.StringIO(), width=100)
    print_report(report, console)
    assert "Tested otherwise, and compared with nothing above" in console.file.getvalue()


def test_one_other_label_is_another_test_set(write_sweep):
    folder = write_sweep({"transfer=none": NONE})
    path = folder / "2" / "predictions.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[7]["reference"] = "tree"
    path.write_text("".join(json.dumps(line) + "\n" for line in reversed(lines)))
    sweep = compare_settings(folder)
    assert (sweep["rows"][0]["seeds"], sweep["others"][0]["rows"][0]["seeds"]) == ([0, 1], [2])


def test_the_order_of_words_and_of_cuts_does_not_matter(write_sweep):
    folder = write_sweep(
        {"transfer=none optimizer.lr=1": {0: 0.8}, "optimizer.lr=1 transfer=none": {1: 0.81}}
    )
    path = folder / "1" / "predictions.jsonl"
    path.write_text("".join(line + "\n" for line in reversed(path.read_text().splitlines())))
    sweep = compare_settings(folder)
    assert [row["seeds"] for row in sweep["rows"]] == [[0, 1]]
    assert sweep["others"] == []


def test_without_transfer_it_does_not_matter_who_would_have_taught(write_sweep):
    settings = {
        "transfer=none student=small": NONE,
        "taught_by=large student=small": LOGITS,
        "teacher.run=runs/a/teacher student=small": LOGITS,
        "teacher.run=runs/a/teacher student=large": LOGITS,
    }
    rows = rows_of(compare_settings(write_sweep(settings)))
    gains = [row["difference"] and row["difference"]["value"] for row in rows.values()]
    gain = np.mean(list(LOGITS.values())) - np.mean(list(NONE.values()))
    assert gains == [None, pytest.approx(gain), pytest.approx(gain), None]


def test_the_interval_for_other_speakers_holds_the_mean_of_the_predictions(write_sweep):
    folder = write_sweep({"transfer=none": {0: 0.8, 1: 0.8, 2: 0.8}})
    means = []
    for seed in range(3):
        lines = (folder / str(seed) / "predictions.jsonl").read_text().splitlines()
        means.append(np.mean([json.loads(line)["reference"] == json.loads(line)["output"] for line in lines]))
    (row,) = compare_settings(folder)["rows"]
    low, high = row["over_speakers"]
    assert low < np.mean(means) < high


def test_the_report_names_the_front_and_the_key_that_mattered(write_sweep):
    folder = write_sweep(
        {
            "student=small transfer=none": {0: 0.70, 1: 0.71, 2: 0.69},
            "student=small transfer=logits": {0: 0.80, 1: 0.81, 2: 0.79},
            "student=large transfer=none": {0: 0.71, 1: 0.70, 2: 0.72},
            "student=large transfer=logits": {0: 0.81, 1: 0.79, 2: 0.80},
        }
    )
    for job in range(6, 12):
        path = folder / str(job) / "metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"size_bytes": 160_000, "macs": 900_000}))
    sweep = compare_settings(folder)
    fronts = {row["setting"]: row["front"] for row in sweep["rows"]}
    assert fronts["student=small transfer=logits"] == ["size_bytes", "macs"]
    assert fronts["student=large transfer=none"] == []
    assert fronts["student=large transfer=logits"] == []  # no better, to the last digit of the means
    keys = {key["key"]: key for key in sweep["importance"]["keys"]}
    assert keys["transfer"]["matters"]
    assert not keys["student"]["matters"]
    report = write_sweep_report(folder)
    assert {path.name for path in report.glob("front_*.png")} == {"front_size.png", "front_macs.png"}
    text = (report / "comparison.md").read_text()
    assert "| 1. small | logits | 80.0 " in text
    assert "transfer explains 9" in text
    assert "student: no more than noise." in text


def test_one_seed_a_setting_is_called_no_evidence(write_sweep):
    sweep = compare_settings(write_sweep({"transfer=none": {0: 0.8}, "transfer=logits": {0: 0.9}}))
    assert sweep["seeds_for_one_point"] is None
    console = Console(file=io.StringIO(), width=100)
    print_sweep(sweep, console)
    assert "cannot be told from chance" in console.file.getvalue()


def test_three_equal_seeds_are_not_one(write_sweep):
    same = dict.fromkeys(range(3), 0.75)
    sweep = compare_settings(write_sweep({"transfer=none": same, "transfer=logits": same}))
    assert sweep["seed_deviation"] == 0.0
    assert sweep["seeds_for_one_point"] == 2
    assert "One seed a setting" not in caution(sweep)
