"""Settings are chosen on validation; the test set says what the choice is worth."""

import io
import json

import pytest
from rich.console import Console
from speech_folders import write_speaker

from kd_lightning.reports.settings import compare_settings
from kd_lightning.reports.sweep import write_sweep_report
from kd_lightning.reports.sweep_tables import best, front, keys, settings, what_mattered
from kd_lightning.reports.terminal import print_sweep

# The luckiest on the test set is not what validation chooses.
TESTED = {
    "transfer=none": {0: 0.80, 1: 0.81},
    "transfer=hints": {0: 0.88, 1: 0.89},
    "transfer=logits": {0: 0.85, 1: 0.86},
}
VALIDATED = {
    "transfer=none": {0: 0.79, 1: 0.80},
    "transfer=hints": {0: 0.83, 1: 0.84},
    "transfer=logits": {0: 0.87, 1: 0.88},
}


def test_the_best_on_validation_comes_first_with_what_it_is_worth_on_the_test_set(write_sweep):
    folder = write_sweep(TESTED, VALIDATED)
    sweep = compare_settings(folder)
    assert [row["setting"] for row in sweep["rows"]] == [
        "transfer=logits",
        "transfer=hints",
        "transfer=none",
    ]
    assert [row["validation"] for row in sweep["rows"]] == pytest.approx([0.875, 0.835, 0.795])
    assert [row["metrics"]["accuracy"] for row in sweep["rows"]] == pytest.approx([0.855, 0.885, 0.805])
    (told,) = best(sweep)
    assert told.startswith("Best by validation: transfer=logits, accuracy % 87.5; on the test set")
    assert "85.5 [" in told
    table = settings(sweep)
    assert table.columns[1:3] == ["validation %", "test accuracy % [95 %]"]
    assert [row[1] for row in table.rows] == ["87.5", "83.5", "79.5"]
    assert "Choose by validation" in table.caption
    page = (write_sweep_report(folder) / "index.html").read_text()
    assert told in page
    console = Console(file=io.StringIO(), width=100)
    print_sweep(sweep, console)
    assert "best by validation first" in console.file.getvalue()
    assert max(map(len, console.file.getvalue().splitlines())) <= 100


def test_settings_that_validation_cannot_tell_apart_are_all_named(write_sweep):
    same = {setting: {0: 0.8, 1: 0.9} for setting in TESTED}
    assert len(best(compare_settings(write_sweep(TESTED, same)))) == 3


def test_fewer_errors_on_validation_come_first(tmp_path):
    for transfer, mcd in (("none", 5.0), ("mels", 4.0)):
        for seed in range(2):
            config = {"overrides": [f"transfer={transfer}", f"seed={seed}"], "seed": seed}
            results = {"validation": {"mcd": mcd + 0.1 * seed}}
            folder = tmp_path / f"{transfer}{seed}"
            write_speaker(folder, "distill", config=config, results=results, heard=0)
    sweep = compare_settings(tmp_path)
    assert [row["setting"] for row in sweep["rows"]] == ["transfer=mels", "transfer=none"]
    (key,) = sweep["importance"]["keys"]
    assert (key["best"], key["effect"]) == ("mels", pytest.approx(-1.0))


def test_keys_matter_by_validation_where_all_runs_have_it(write_sweep):
    """On validation the rate decides, and on the test set, by luck, the transfer."""
    names = [f"transfer={transfer} optimizer.lr={rate}" for transfer in "ab" for rate in (0.1, 0.2)]
    scatter = {0: 0.0, 1: 0.001, 2: -0.001}
    tested = {
        name: {seed: (0.9 if "transfer=a" in name else 0.8) + off for seed, off in scatter.items()}
        for name in names
    }
    validated = {
        name: {seed: (0.9 if "lr=0.1" in name else 0.8) + off for seed, off in scatter.items()}
        for name in names
    }
    folder = write_sweep(tested, validated)
    sweep = compare_settings(folder)
    assert [key["key"] for key in sweep["importance"]["keys"] if key["matters"]] == ["optimizer.lr"]
    assert "of the validation accuracy" in keys(sweep).caption
    assert "of the variance on validation: 0.1 is 10.0 points better than 0.2" in what_mattered(sweep)[0]

    path = folder / "3" / "metrics.json"
    results = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in results.items() if key != "validation"}))
    sweep = compare_settings(folder)
    assert [key["key"] for key in sweep["importance"]["keys"] if key["matters"]] == ["transfer"]
    assert "of the test accuracy" in keys(sweep).caption


def test_runs_without_validation_are_listed_as_they_were_typed(write_sweep):
    sweep = compare_settings(write_sweep(TESTED))
    assert [row["setting"] for row in sweep["rows"]] == list(TESTED)
    assert best(sweep) == []
    assert settings(sweep).columns[:2] == ["setting", "accuracy % [95 %]"]


def test_the_front_is_of_the_test_set_and_says_so(write_sweep):
    folder = write_sweep(TESTED, VALIDATED)
    for job in (2, 3):
        path = folder / str(job) / "metrics.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"size_bytes": 160_000}))
    sweep = compare_settings(folder)
    table = front(sweep, apart=True)
    assert [row[0] for row in table.rows] == ["1. logits", "2. hints"]
    assert table.columns[1:3] == ["validation %", "test accuracy % [95 %]"]
    assert "means over the test set" in table.caption


def test_no_number_is_pushed_out_of_the_terminal(tmp_path):
    """Speech has the longest rows: decibels with their interval, two more metrics, and a run that is missing."""
    for transfer, mcd in (("none", 5.0), ("mels", 4.0)):
        for seed in range(3):
            words = [f"transfer={transfer}", f"student.network.width={mcd}", f"seed={seed}"]
            results = {"validation": {"mcd": mcd + 0.1 * seed}}
            folder = tmp_path / f"{transfer}{seed}"
            write_speaker(
                folder, "distill", config={"overrides": words, "seed": seed}, results=results, heard=0
            )
    (tmp_path / "mels2" / "metrics.json").unlink()
    sweep = compare_settings(tmp_path)
    console = Console(file=io.StringIO(), width=100)
    print_sweep(sweep, console)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    for row in settings(sweep).rows:
        assert any(all(cell in line for cell in row[1:]) for line in lines)
    assert [row[-1] for row in settings(sweep).rows] == ["2 / 3", "3 / 3"]
    assert "goes on with it" in " ".join(" ".join(lines).split())
