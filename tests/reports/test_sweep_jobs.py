"""The jobs of a sweep's folder: which belong to one setting, to one test set, and what became of the others."""

import json
from pathlib import Path

import pytest
from run_folders import write_run

from kd_lightning.reports.settings import compare_settings
from kd_lightning.reports.sweep import write_sweep_report
from kd_lightning.reports.sweep_tables import left_out

STOPPED = (
    "2026-01-01 10:00:09,000 kd_lightning ERROR the stage ended\n"
    "Traceback (most recent call last):\n"
    '  File "stages.py", line 1, in fit\n'
    "KeyboardInterrupt\n"
)


def write_jobs(folder: Path, corpora: list[dict]) -> Path:
    """Three seeds on each corpus, whose cuts have the same ids."""
    for number, corpus in enumerate(corpora):
        for seed in range(3):
            config = {"overrides": ["transfer=none", f"seed={seed}"], "seed": seed, "corpus": corpus}
            write_run(folder / f"{number}_{seed}", "baseline", 0.8, 40, seed=seed, config=config)
    return folder


SPOKEN = {"_target_": "a.Corpus", "root": None, "synthetic": {"clips": [60, 30, 30], "clean_share": 0.4}}


@pytest.mark.parametrize(
    "other",
    [
        SPOKEN | {"root": "/data/sc"},
        SPOKEN | {"download": True},
        SPOKEN | {"synthetic": {"clips": [60, 30, 30], "clean_share": 0.0}},
        SPOKEN | {"_target_": "b.Corpus"},
        SPOKEN | {"clips": {"root": "/data/sc_telephone", "synthetic": None}},
    ],
)
def test_the_same_cuts_of_other_recordings_are_another_test_set(other, tmp_path):
    sweep = compare_settings(write_jobs(tmp_path / "sweep", [SPOKEN, other]))
    assert [row["seeds"] for row in sweep["rows"]] == [[0, 1, 2]]
    (apart,) = sweep["others"]
    assert [row["seeds"] for row in apart["rows"]] == [[0, 1, 2]]
    (key,) = {key for key in other if other[key] != SPOKEN.get(key)}
    assert any(told.startswith(f"corpus.{key}: ") for told in apart["differs"])


def test_what_is_learnt_from_does_not_change_the_test_set(tmp_path):
    corpora = [
        SPOKEN | {"labelled_fraction": share, "seed": 1, "augment": {"shift": share}} for share in (0.1, 1.0)
    ]
    sweep = compare_settings(write_jobs(tmp_path / "sweep", corpora))
    assert sweep["others"] == []


def test_the_labelled_share_is_said_of_a_sweep_only_where_all_runs_have_it(tmp_path):
    for name, shares in (("one", (0.1, 0.1)), ("two", (0.1, 1.0))):
        write_jobs(tmp_path / name, [SPOKEN | {"labelled_fraction": share} for share in shares])
    said = [(write_sweep_report(tmp_path / name) / "comparison.md").read_text() for name in ("one", "two")]
    assert "10 % of the labels" in said[0]
    assert "% of the labels" not in said[1]


def test_a_folder_that_holds_nothing_yet_is_a_job_that_ended_early(write_sweep):
    folder = write_sweep({"transfer=none": {0: 0.8}})
    (folder / "empty").mkdir()
    (folder / "locked").mkdir()
    (folder / "locked" / ".lock").touch()
    (folder / "notes").mkdir()
    (folder / "notes" / "read.me").touch()
    found = {one["name"]: one for one in compare_settings(folder)["left_out"]}
    assert {name: one["kind"] for name, one in found.items()} == {
        "empty": "unfinished",
        "locked": "unfinished",
        "notes": "foreign",
    }
    assert "ended before its log began, see the terminal" in found["empty"]["reason"]


def test_no_trial_of_a_wandb_sweep_is_promised_to_go_on(write_sweep):
    folder = write_sweep({"transfer=none": {0: 0.8, 1: 0.81, 2: 0.79}})
    for job, kept in enumerate(("stopped", "cut_off", "finished")):
        (folder / str(job)).rename(folder / kept)
        (folder / kept / ".wandb_id").write_text(kept)
    (folder / "stopped" / "metrics.json").unlink()
    (folder / "stopped" / "train.log").write_text(STOPPED)
    (folder / "cut_off" / "metrics.json").unlink()
    (folder / "cut_off" / ".wandb_id").unlink()  # before it had a logger
    sweep = compare_settings(folder)
    reasons = {one["name"]: one["reason"] for one in sweep["left_out"]}
    assert reasons["stopped"].startswith("stopped before its first checkpoint, by the search or by hand")
    assert "no agent starts it again" in reasons["cut_off"]
    table = left_out(sweep)
    told = " ".join([table.caption, *(cell for row in table.rows for cell in row)])
    assert "the sweep's command" not in told
    assert "same command" not in told


def test_a_job_that_logs_to_wandb_is_no_trial(write_sweep):
    folder = write_sweep({"transfer=none": {0: 0.8, 1: 0.8}})
    (folder / "0" / ".wandb_id").write_text("5e1f0c")
    (folder / "1" / "metrics.json").unlink()
    sweep = compare_settings(folder)
    assert "the sweep's command goes on with it" in sweep["left_out"][0]["reason"]
    assert left_out(sweep).caption.startswith("Start the same command again")


def test_stages_of_a_pipeline_are_settings_of_their_own(tmp_path):
    """Every stage records the words of the whole pipeline."""
    for stage, share in (("teacher", 0.93), ("baseline", 0.80)):
        for seed in range(2):
            config = {"overrides": ["name=a", f"seed={seed}"], "seed": seed, "stage": stage}
            write_run(tmp_path / f"{stage}_{seed}", stage, share, 40, seed=seed, config=config)
    (tmp_path / "teacher_1" / "metrics.json").unlink()
    sweep = compare_settings(tmp_path)
    rows = {row["setting"]: (row["seeds"], row["unfinished"]) for row in sweep["rows"]}
    assert rows == {"stage=baseline": ([0, 1], []), "stage=teacher": ([0], ["teacher_1"])}
    assert sweep["notes"] == []


@pytest.mark.parametrize("words", [[], ["stage=distill"]])
def test_the_words_of_a_sweep_of_one_stage_are_as_they_were_typed(words, tmp_path):
    for seed in range(2):
        config = {"overrides": ["transfer=none", *words, f"seed={seed}"], "seed": seed, "stage": "distill"}
        write_run(tmp_path / str(seed), "distill", 0.8, 40, seed=seed, config=config)
    (row,) = compare_settings(tmp_path)["rows"]
    assert row["overrides"] == ["transfer=none", *words]


def test_a_stage_that_was_typed_is_not_said_twice(tmp_path):
    typed = {"0": ["stage=baseline"], "1": []}
    for (name, words), stage in zip(typed.items(), ("baseline", "distill"), strict=True):
        write_run(tmp_path / name, stage, 0.8, 40, config={"overrides": words, "stage": stage})
    rows = compare_settings(tmp_path)["rows"]
    assert [json.dumps(row["overrides"]) for row in rows] == ['["stage=baseline"]', '["stage=distill"]']
