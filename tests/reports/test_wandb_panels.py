"""The panels of a dashboard name what the runs have logged, and show these runs alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wandb
from wandb_files import Logged, close_wandb, read_logged

from kd_lightning.experiment.compose import flat
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.wandb_dashboard import pipeline_dashboard, report, sweep_dashboard, workspace
from kd_lightning.reports.wandb_panels import GAP
from kd_lightning.reports.wandb_runs import WandbRun, wandb_runs


def run(number: int, **changed: Any) -> WandbRun:
    """A finished run of keyword spotting, in wandb."""
    metrics = {"accuracy": 0.9, "f1": 0.9, "ece": 0.01}
    of = {
        "folder": Path(f"/runs/{number}"), "id": f"id{number}", "project": "p", "entity": None, "unsent": [],
        "config": {"task": "keyword", "optimizer": {"lr": 0.01}, "transfer": {"terms": {}}},
        "results": {"metrics": metrics, "size_bytes": 40_000, "latency_ms": {"p50": 0.5}, "macs": 10_000},
        "curves": ["train/loss", "train/labels", "weight/labels", "optimizer/lr", "validation/accuracy"], "media": [],
    }  # fmt: skip
    return WandbRun(**(of | changed))


def spec(shown: Any) -> dict[str, Any]:
    """What is sent to wandb's server."""
    return json.loads(shown._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))


def panels_of(view: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for section in view["section"]["panelBankConfig"]["sections"]:
        yield from section["panels"]


def keys(panel: dict[str, Any]) -> list[str]:
    """What a panel asks of the runs: keys of history and summary, and of the config as ``config.<key>``."""
    config = panel["config"]
    asked = [config.get(name) for name in ("xAxis", "yAxis", "targetKey")]
    asked += [*config.get("metrics", []), *config.get("mediaKeys", [])]
    asked += [column["accessor"] for column in config.get("columns", [])]
    named = [key.removeprefix("summary:") for key in asked if key]
    return [key.replace("config:", "config.").replace(".value", "") for key in named]


def held(logged: Logged) -> set[str]:
    """All keys under which a run has something."""
    config = {f"config.{key}" for key in flat(logged.config)}
    return logged.history | set(flat(logged.summary)) | config


def test_every_panel_names_what_a_stage_has_logged(config_of, teacher_run, monkeypatch):
    """A real stage, offline; the gap recovered alone comes later, from the dashboard."""
    from kd_lightning.stages import closed_wandb, run_stage

    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    config = config_of(
        "distill", "logger=wandb", f"teacher.run={teacher_run}", "transfer=logits", "optimizer.lr=0.01"
    )
    with closed_wandb():
        run_stage(config)
    close_wandb()
    folder = Path(config["folder"])
    (found,), logged = wandb_runs([folder]), read_logged(folder)
    assert (found.id, found.project) == (logged.run.run_id, logged.run.project)
    assert len(found.unsent) == 1
    assert logged.run.job_type == "distill"

    other = found._replace(config=found.config | {"overrides": []})
    for shown in (pipeline_dashboard("mine", [found]), sweep_dashboard("mine", [found, other])):
        view = spec(workspace(shown, "", "p"))
        asked = {key for panel in panels_of(view) for key in keys(panel)}
        assert {
            "validation/accuracy",
            "train/soft_targets",
            "size_bytes",
            "latency_ms.p50",
            "accuracy",
        } <= asked
        assert asked - held(logged) <= {GAP}
        assert not any("None" in key for key in asked)
    assert {"config.optimizer.lr", "config.words.transfer"} <= asked


def test_sound_and_pictures_are_found_where_wandb_keeps_them(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    wandb.teardown()
    with wandb.init(mode="offline", dir=tmp_path, project="p") as started:
        sound = wandb.Audio(np.zeros(160, dtype=np.float32), 16_000)
        picture = wandb.Image(np.zeros((4, 4, 3), dtype=np.uint8))
        started.log({"samples/speech": [sound, sound], "samples/spectrograms": [picture], "words_2": [sound]})
    close_wandb()
    (tmp_path / "config.json").write_text('{"logger": {"wandb": {"project": "p"}}}')
    (tmp_path / "metrics.json").write_text('{"metrics": {"mcd": 3.0}}')
    (tmp_path / ".wandb_id").write_text("a")
    (found,) = wandb_runs([tmp_path])
    assert found.media == ["samples/speech", "words_2", "samples/spectrograms"]


def test_a_run_that_was_sent_is_not_to_be_sent_again(tmp_path):
    offline = tmp_path / "wandb" / "offline-run-1-a"
    offline.mkdir(parents=True)
    (offline / "run-a.wandb").touch()
    (tmp_path / "config.json").write_text('{"logger": {"wandb": {"project": "p", "entity": "team"}}}')
    (tmp_path / "metrics.json").write_text('{"metrics": {"mcd": 3.0}}')
    assert wandb_runs([tmp_path]) == []  # no run has begun
    (tmp_path / ".wandb_id").write_text("a")
    (before,) = wandb_runs([tmp_path])
    (offline / "run-a.wandb.synced").touch()
    (after,) = wandb_runs([tmp_path])
    assert (before.unsent, after.unsent, after.entity) == ([offline], [], "team")
    (tmp_path / "metrics.json").unlink()
    (stopped,) = wandb_runs([tmp_path])
    assert stopped.results == {}


@pytest.mark.parametrize(
    ("task", "metrics"),
    [
        ("keyword", ("accuracy", "f1", "ece")),
        ("recognition", ("wer", "cer")),
        ("synthesis", ("mcd", "round_trip_cer", "f0_rmse")),
        ("vocoding", ("mcd", "stft_distance", "stoi")),
    ],
)
def test_each_task_shows_its_own_metrics(task, metrics):
    results = {"metrics": dict.fromkeys(metrics, 1.0), "size_bytes": 1, "latency_ms": {"p50": 1.0}}
    runs = [run(number, config={"task": task}, results=results) for number in range(2)]
    quality, *_, cost = pipeline_dashboard("mine", runs).groups
    assert {key for panel in quality.panels for key in getattr(panel, "metrics", [])} == set(metrics)
    assert {panel.y.name for panel in cost.panels} == {task_of(task).metric}
    assert [panel.x.name for panel in cost.panels] == ["size_bytes", "latency_ms.p50"]


def test_workspace_and_report_show_the_same_panels_of_these_runs_alone():
    shown = pipeline_dashboard("mine", [run(0), run(1, media=["samples/speech"])])
    view, text = spec(workspace(shown, "", "p")), spec(report(shown, "", "p", "**Gap recovered: 53 %**"))
    grids = [block["metadata"] for block in text["blocks"] if block["type"] == "panel-grid"]
    there = [panel for grid in grids for panel in grid["panelBankSectionConfig"]["panels"]]
    assert [panel["config"] for panel in there] == [panel["config"] for panel in panels_of(view)]
    (these,) = view["section"]["runSets"][0]["filters"]["filters"]
    assert these["key"] == {"section": "run", "name": "name"}
    assert (these["op"], these["value"]) == ("IN", ["id0", "id1"])
    assert all(grid["runSets"][0]["filters"] == view["section"]["runSets"][0]["filters"] for grid in grids)
    assert "samples/speech" in {key for panel in there for key in keys(panel)}


def test_a_sweep_shows_the_words_that_differ():
    words = [["experiment=a", "++optimizer.lr=0.01", "transfer=none"], ["experiment=a", "transfer=logits"]]
    runs = [run(number, config=run(0).config | {"overrides": each}) for number, each in enumerate(words)]
    settings = sweep_dashboard("lr", runs).groups[0].panels[0]
    assert [column.display_name for column in settings.columns] == [
        "optimizer.lr",
        "transfer",
        "test accuracy",
    ]
    assert [column.metric.name for column in settings.columns] == [
        "optimizer.lr",
        "words.transfer",
        "accuracy",
    ]


def test_a_sweep_is_read_by_validation_where_its_runs_have_it():
    words = [["optimizer.lr=0.01"], ["optimizer.lr=0.02"]]
    runs = [run(number, config=run(0).config | {"overrides": each}) for number, each in enumerate(words)]
    validated = [each._replace(results=each.results | {"validation": {"accuracy": 0.9}}) for each in runs]
    for shown, key, called in ((runs, "accuracy", "Test"), (validated, "validation.accuracy", "Validation")):
        coordinates, importance, scatter = sweep_dashboard("lr", shown).groups[0].panels
        assert importance.with_respect_to == key
        assert (scatter.y.name, scatter.title) == (key, f"{called} accuracy over optimizer.lr")
    names = [column.display_name for column in coordinates.columns]
    assert names == ["optimizer.lr", "validation accuracy", "test accuracy"]
