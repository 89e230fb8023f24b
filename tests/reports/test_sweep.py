"""Sweeps: settings, seeds, and the difference to no transfer."""

import io
import json

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from kd_lightning.reports.settings import compare_settings
from kd_lightning.reports.sweep import write_sweep_report
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
    assert [note.split(" ")[1] for note in sweep["notes"]] == ["1", "4", "5"]


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
    with pytest.raises(FileNotFoundError, match=r"Looked for <number>/config\.json"):
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


def test_one_seed_a_setting_is_called_no_evidence(write_sweep):
    sweep = compare_settings(write_sweep({"transfer=none": {0: 0.8}, "transfer=logits": {0: 0.9}}))
    assert sweep["seeds_for_one_point"] is None
    console = Console(file=io.StringIO(), width=100)
    print_sweep(sweep, console)
    assert "cannot be told from chance" in console.file.getvalue()
