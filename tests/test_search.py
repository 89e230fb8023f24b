"""The best student within a budget, from the list to the report."""

import json
import os
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir

from kd_lightning.experiment import students
from kd_lightning.experiment.compose import Request, conf_folder
from kd_lightning.search import search

SETTINGS = {"proxy": 0.25, "train": True, "ladders": {"tc_resnet8_tiny": {"width": 0.05}}}
STUDENTS = ["quartznet_small", "tc_resnet8", "tc_resnet8_tiny"]


@pytest.fixture
def request_of_search(quick_words, teacher_run, tmp_path, monkeypatch):
    """A request with a finished teacher and three students, of which one is of another task."""
    monkeypatch.setattr(students, "student_names", lambda: STUDENTS)
    monkeypatch.setattr(students, "search_settings", lambda task, words: SETTINGS | words)
    words = (
        *(word for word in quick_words if ".network." not in word),
        *(f"teacher.run={teacher_run}", f"paths.runs={tmp_path}", "name=small"),
    )
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return Request(compose("config", overrides=list(words)), words)


def test_the_best_within_the_budget_goes_through_the_pipeline(request_of_search, tmp_path, capsys):
    words = {"budget": {"size_kb": 280}}
    search(request_of_search, words)
    found = json.loads((tmp_path / "small" / "search" / "candidates.json").read_text())
    ranked = [row for row in found["candidates"] if row["rank"] is not None]
    assert [row["rank"] for row in ranked] == [1, 2]
    assert all(row["cost"]["size_kb"] <= 280 and row["short_runs"] for row in ranked)
    scores = [row["short_runs"][-1]["score"] for row in ranked]
    assert scores == sorted(scores, reverse=True)
    for stage in ("baseline", "distill", "finetune"):
        config = json.loads((tmp_path / "small" / stage / "config.json").read_text())
        assert config["student"]["network"] == ranked[0]["network"]
    assert (tmp_path / "small" / "report" / "index.html").is_file()
    assert not any(row["short_runs"] for row in found["candidates"] if not row["fits"])
    printed = capsys.readouterr().out
    assert ranked[0]["name"] in printed
    assert ranked[0]["name"] in (tmp_path / "small" / "search" / "candidates.md").read_text()

    trained = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("curves.csv")}
    assert len(trained) == 2 + 3
    search(request_of_search, words)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("curves.csv")} == trained

    # Another budget, whose students are none of those that were trained here.
    with pytest.raises(FileExistsError, match=r"set name=<another name>, and teacher\.run="):
        search(request_of_search, words | {"budget": {"size_kb": 30}})


def test_a_budget_that_nothing_fits_trains_nothing_and_says_who_is_nearest(request_of_search, tmp_path):
    with pytest.raises(ValueError, match="no student fits the budget") as raised:
        search(request_of_search, {"budget": {"size_kb": 5, "macs": 1e9}})
    _, size, macs = str(raised.value).splitlines()
    assert "size_kb=5.0: nearest is tc_resnet8_tiny-x" in size
    assert "macs=1 G" in macs
    assert (tmp_path / "small" / "search" / "candidates.json").is_file()
    assert not list(tmp_path.rglob("config.json"))


@pytest.mark.parametrize(
    "words", [{"proxy": 0}, {"proxy": 1.5}, {"proxy": "half"}, {"proxy": True}, {"train": "later"}]
)
def test_settings_that_are_none_are_refused(request_of_search, words):
    ((key, value),) = words.items()
    with pytest.raises(ValueError, match=f"{key}={value}"):
        search(request_of_search, {"budget": {"params": 9000}, **words})


def test_the_table_alone_trains_nothing(request_of_search, tmp_path, capsys):
    search(request_of_search, {"budget": {"size_kb": 280}, "train": False})
    assert "fits" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "small").rglob("*.*")] == ["candidates.md", "candidates.json"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say what the student may cost: budget='{size_kb: 100, macs: 5e6}'"),
        (["budget={size: 100}"], "budget: there is no size; limits are size_kb"),
        (["+budget={size_kb: -1}"], "budget.size_kb=-1: a limit is a positive number"),
        (["budget.macs=0"], "budget.macs=0"),
        (["budget={size_kb: 1}", "studnt=gru"], "studnt: the config has no such key; did you mean student?"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_one_message(words, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "kd_lightning.search", *words],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_help_needs_no_torch(tmp_path):
    code = (
        "import sys; sys.argv = ['x', '--help']\n"
        "from kd_lightning.search import main\nmain()\nassert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "budget=" in done.stdout
