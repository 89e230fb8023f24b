"""Where a dashboard ends up: in wandb with a key, on a local page without one, in one sentence where neither works."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wandb_server import project_with, serving

from kd_lightning import dashboard

STAGES = ("teacher", "baseline", "distill", "finetune")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline that was logged offline, and its report; reports have their own tests."""
    folder = tmp_path / "runs" / "mine"
    for stage in STAGES:
        offline = folder / stage / "wandb" / f"offline-run-1-{stage}"
        offline.mkdir(parents=True)
        (offline / f"run-{stage}.wandb").touch()
        (folder / stage / ".wandb_id").write_text(stage)
        logger = {"wandb": {"project": "kd_lightning"}}
        files = {
            "config.json": {"task": "keyword", "logger": logger},
            "metrics.json": {
                "metrics": {"accuracy": 0.9, "f1": 0.9},
                "size_bytes": 40_000,
                "latency_ms": {"p50": 1.0},
            },
        }
        for name, content in files.items():
            (folder / stage / name).write_text(json.dumps(content))
        (folder / stage / "curves.csv").write_text(
            "step,key,value\n1,train/loss,1.0\n1,validation/accuracy,0.5\n"
        )
        line = {"cut": "a", "reference": "yes", "output": "yes", "speaker": "s", "score": 1.0}
        (folder / stage / "predictions.jsonl").write_text(json.dumps(line))
    (folder / "report").mkdir()
    (folder / "report" / "comparison.json").write_text(json.dumps({"gap_recovered": 0.53}))
    (folder / "report" / "comparison.md").write_text(
        "# Title\n\n**Gap recovered: 53 %**\n\n## Quality\n\n| stage |\n\n![plot](plot.png)\n\n## Cost\n\nmore\n"
    )
    monkeypatch.setattr(dashboard, "_write_page", lambda folder, pipeline: folder / "report")
    return folder


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pages that a browser was asked to open."""
    pages: list[str] = []
    monkeypatch.setattr(dashboard.webbrowser, "open", pages.append)
    return pages


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """A key, and nothing that wandb remembers of another server."""
    import wandb

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()
    yield monkeypatch
    wandb.teardown()


def show(folder: Path, key: pytest.MonkeyPatch, answers: Any, **words: str) -> Any:
    with serving(answers) as server:
        key.setenv("WANDB_BASE_URL", server.url)
        dashboard.dashboard({"runs": str(folder), **words})
    return server


def test_without_a_key_the_page_is_named_and_how_to_send_the_runs(
    folder, opened, monkeypatch, tmp_path, capsys
):
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    dashboard.dashboard({"runs": str(folder)})
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"no wandb key, so this page is all there is: {folder}/report/index.html"
    assert [line.strip() for line in said[2:-1]] == [
        "wandb login",
        *(f"wandb sync {folder}/{stage}/wandb/offline-run-1-{stage}" for stage in STAGES),
    ]
    assert opened == []  # nobody looks at this terminal


def test_a_browser_opens_where_somebody_looks(folder, opened, monkeypatch, tmp_path):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(dashboard, "_has_screen", lambda: True)
    dashboard.dashboard({"runs": str(folder)})
    assert opened == [(folder / "report" / "index.html").as_uri()]


def test_runs_that_were_not_logged_to_wandb_have_the_page_alone(folder, key, capsys):
    for stage in STAGES:
        (folder / stage / "config.json").write_text(json.dumps({"task": "keyword", "logger": {}}))
    dashboard.dashboard({"runs": str(folder)})
    assert "not logged to wandb" in capsys.readouterr().out


def test_with_a_key_a_workspace_and_a_report_are_saved_and_saved_again(folder, key, capsys):
    """The second time brings the same two up to date."""
    first = show(folder, key, project_with(list(STAGES)))
    views = {asked["type"]: asked for asked in first.variables("upsertView")}
    assert set(views) == {"project-view", "runs"}
    assert {(asked["entityName"], asked["projectName"]) for asked in views.values()} == {
        ("me", "kd_lightning")
    }
    summary = json.loads(first.variables("upsertBucket")[0]["summaryMetrics"])
    assert summary == {"accuracy": 0.5, "gap_recovered": 0.53}  # what was there stays
    text = next(
        block for block in json.loads(views["runs"]["spec"])["blocks"] if block["type"] == "markdown-block"
    )
    assert text["content"] == "**Gap recovered: 53 %**\n\n## Quality\n\n| stage |"

    again = show(folder, key, project_with(list(STAGES)))
    assert [(asked["type"], asked["id"]) for asked in again.variables("upsertView")] == [
        ("project-view", "id-of-project-view"),
        ("runs", "id-of-runs"),
    ]
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == 2 * [
        "page",
        "workspace",
        "report",
    ]


def test_runs_that_are_not_there_yet_are_named_with_the_command_that_sends_them(folder, key):
    with pytest.raises(FileNotFoundError, match="2 of 4 runs are not in me/kd_lightning") as error:
        show(folder, key, project_with(["teacher", "baseline"]))
    assert f"wandb sync {folder}/finetune/wandb/offline-run-1-finetune" in str(error.value)
    assert "offline-run-1-teacher" not in str(error.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused(folder, key, status):
    with pytest.raises(PermissionError, match=r"refuses the key .*wandb login --relogin"):
        show(folder, key, {"viewer": status})


@pytest.mark.parametrize("answer", [403, {"project": None}])
def test_a_project_that_the_key_may_not_see(folder, key, answer):
    with pytest.raises(PermissionError, match="may not see or change the project team/kd_lightning"):
        show(folder, key, project_with([]) | {"runs(": answer}, entity="team")


def test_a_network_that_is_not_there(folder, key, monkeypatch):
    monkeypatch.setattr("kd_lightning.reports.wandb_server.PATIENCE", 1)
    key.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match="wandb does not answer"):
        dashboard.dashboard({"runs": str(folder)})
