"""Show runs in wandb, or here: ``python -m kd_lightning.dashboard runs=runs/my_run``."""

from __future__ import annotations

import json
import os
import sys
import webbrowser
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_lightning.experiment.command import existing_folder, run_command

if TYPE_CHECKING:
    from kd_lightning.reports.wandb_runs import WandbRun

USAGE = """usage: python -m kd_lightning.dashboard runs=<folder> [entity=<user or team>]

  runs=runs/my_run                    the stages of a pipeline
  runs=multirun/<name>                a sweep; runs=runs/sweep-<id> is one of wandb's agents
Writes the local page, <folder>/report/index.html. With a wandb key it saves a workspace and a report with the same
panels in the project of the runs, or brings up to date those that it has saved before; without one it opens the page.
"""

SAVED = "wandb.json"


def dashboard(words: dict[str, Any]) -> None:
    """Write the page of ``runs=`` and, where there is a key, save a workspace and a report in wandb."""
    folder = existing_folder(words, "runs").resolve()
    entity = words.pop("entity", None)
    if words:
        raise ValueError(
            f"unknown words {sorted(words)}: the dashboard takes runs=<folder> and entity=<user or team>"
        )

    from kd_lightning.experiment.compose import STAGES
    from kd_lightning.experiment.wandb_environment import has_wandb_key
    from kd_lightning.reports.wandb_runs import wandb_runs

    stages = [stage for stage in STAGES if (folder / stage).is_dir()]
    page = _write_page(folder, bool(stages)) / "index.html"
    logged = wandb_runs(_run_folders(folder, bool(stages)))
    if logged and has_wandb_key():
        if find_spec("wandb_workspaces") is None:
            raise ValueError("wandb_workspaces is missing: pip install 'kd_lightning[dashboard]'")
        print(f"page: {page}")
        _show_in_wandb(folder, bool(stages), logged, entity)
        return
    if logged:
        print(f"no wandb key, so this page is all there is: {page}\nto see the runs in wandb, type")
        print(
            _commands(["wandb login", *_to_send(logged), f"python -m kd_lightning.dashboard runs={folder}"])
        )
    else:
        print(f"these runs were not logged to wandb, so this page is all there is: {page}")
    if _has_screen():
        webbrowser.open(page.as_uri())


def _write_page(folder: Path, pipeline: bool) -> Path:
    from kd_lightning.reports.page import write_report
    from kd_lightning.reports.sweep import write_sweep_report

    return write_report(folder) if pipeline else write_sweep_report(folder)


def _run_folders(folder: Path, pipeline: bool) -> list[Path]:
    """The finished stages of a pipeline, with a teacher from elsewhere, or all jobs of a sweep."""
    from kd_lightning.reports.comparison import read_stages

    if pipeline:
        return [run.folder for run in read_stages(folder)[0].values()]
    return sorted(path.parent for path in folder.glob("*/config.json"))


def _show_in_wandb(folder: Path, pipeline: bool, logged: list[WandbRun], entity: str | None) -> None:
    """Save workspace and report; their names are kept beside the page, to bring the same ones up to date next time."""
    os.environ.setdefault("WANDB_SILENT", "true")  # what it would say is said here
    from kd_lightning.files import write
    from kd_lightning.reports import wandb_dashboard as built
    from kd_lightning.reports import wandb_server as server
    from kd_lightning.reports.wandb_panels import GAP

    project = logged[-1].project
    runs = [run for run in logged if run.project == project]
    for run in logged:
        if run.project != project:
            print(f"left out, because it is in another project ({run.project}): {run.folder}")
    api = server.connect()
    entity = entity or logged[-1].entity or server.owner(api)
    online = server.runs_online(api, entity, project, [run.id for run in runs])
    missing = [run for run in runs if run.id not in online]
    if len(missing) == len(runs) or _to_send(missing):
        raise FileNotFoundError(
            f"{len(missing)} of {len(runs)} runs are not in {entity}/{project}: send them, then try again\n"
            f"{_commands(_to_send(missing))}"
        )
    for run in missing:
        print(f"left out, because it is not in {entity}/{project} and has nothing to send: {run.folder}")
        runs.remove(run)
    comparison = json.loads((folder / "report" / "comparison.json").read_text())
    if comparison.get(GAP) is not None:
        server.add_to_summary(online[runs[-1].id], {GAP: comparison[GAP]})
    show = built.pipeline_dashboard if pipeline else built.sweep_dashboard
    shown = show(folder.name, runs)
    summary = _beginning((folder / "report" / "comparison.md").read_text())
    view, report = built.workspace(shown, entity, project), built.report(shown, entity, project, summary)
    kept = folder / "report" / SAVED
    before = json.loads(kept.read_text()) if kept.is_file() else {}
    if before.get("project") == f"{entity}/{project}":
        view._internal_name, view._internal_id, report.id = (
            before["view"],
            before["view_id"],
            before["report"],
        )
    for what, page in (("workspace", view), ("report", report)):
        print(f"{what}: {server.save(page, f'{entity}/{project}')}")
    now = {
        "project": f"{entity}/{project}", "view": view._internal_name, "view_id": view._internal_id,
        "report": report.id,
    }  # fmt: skip
    write(kept, json.dumps(now, indent=2) + "\n")


def _to_send(logged: list[WandbRun]) -> list[str]:
    return [f"wandb sync {path}" for run in logged for path in run.unsent]


def _commands(lines: list[str]) -> str:
    return "\n".join(f"  {line}" for line in lines)


def _beginning(markdown: str) -> str:
    """The first section of a report in Markdown, without its title and its pictures."""
    parts = markdown.split("\n## ")
    lines = "\n## ".join(parts[:2]).splitlines()[1:]
    return "\n".join(line for line in lines if not line.startswith("![")).strip()


def _has_screen() -> bool:
    """Whether somebody looks at this terminal and a browser can open a window."""
    window = (
        sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )
    return bool(window) and sys.stdout.isatty()


main = run_command(dashboard, USAGE)

if __name__ == "__main__":
    main()
