"""Sweeps of wandb: what an agent types is understood, and a trial logs into the run that the agent has prepared."""

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from wandb_files import close_wandb, read_logged

from kd_lightning.experiment.command import INTERRUPTED, stop
from kd_lightning.experiment.compose import Request, conf_folder, flat, forbid_shadowed_words, stage_config
from kd_lightning.experiment.loggers import build_loggers
from kd_lightning.metrics.scores import is_better
from kd_lightning.stages import closed_wandb

SWEEPS = sorted(conf_folder().glob("wandb_sweep/*.yaml"))


def read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())


def trials(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Trials that try each value of a list, and both ends of each range."""
    values = {
        key: given.get("values", [given.get("min"), given.get("max")]) for key, given in parameters.items()
    }
    count = max(map(len, values.values()))
    return [{key: each[place % len(each)] for key, each in values.items()} for place in range(count)]


def typed(sweep: dict[str, Any], trial: dict[str, Any]) -> list[str]:
    """The command line of a trial, with the words of wandb's own agent in it."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    words = create_sweep_command_args({"args": {key: {"value": value} for key, value in trial.items()}})
    words |= {"env": ["/usr/bin/env"], "interpreter": ["python"], "program": [sweep["program"]]}
    command: list[str] = []
    for part in create_sweep_command(copy.copy(sweep["command"])):
        command += words[part[2:-1]] if part.startswith("${") and part.endswith("}") else [part]
    return command


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What an agent puts into the environment of a trial, and the values that it has chosen."""
    import wandb

    chosen = {"optimizer.lr": {"value": 0.02}, "transfer": {"value": "standardised"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"wandb_version": 1} | chosen))
    for name, value in {
        "SWEEP_ID": "swept",
        "RUN_ID": "trial1",
        "PROJECT": "kd_lightning",
        "SWEEP_PARAM_PATH": str(tmp_path / "config.yaml"),
        "MODE": "offline",
        "SILENT": "true",
    }.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    wandb.teardown()
    yield chosen
    wandb.teardown()


def test_there_is_a_sweep_for_each_task():
    assert [path.stem for path in SWEEPS] == ["keyword", "recognition", "synthesis"]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_wandb_finds_no_fault_with_the_file(path):
    sweeps = pytest.importorskip("sweeps")
    assert sweeps.config.schema_violations_from_proposed_config(read(path)) == []


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_command_of_a_sweep_is_a_stage_whose_monitor_is_the_metric(path, agent, tmp_path):
    sweep = read(path)
    for trial in trials(sweep["parameters"]):
        command = typed(sweep, trial)
        assert command[:4] == ["/usr/bin/env", "python", "-m", "kd_lightning.train"]
        words = command[4:]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            request = Request(compose("config", overrides=[*words, f"paths.runs={tmp_path}"]), tuple(words))
        stage = request.config.stage
        forbid_shadowed_words(request, (stage,))
        config = stage_config(request, stage)
        assert config["folder"] == f"{tmp_path}/sweep-swept/trial1"
        assert not any(
            word.startswith(("folder=", "logger.")) for word in config["overrides"]
        )  # not a setting
        assert config["monitor"] == sweep["metric"]["name"]
        assert (sweep["metric"]["goal"] == "minimize") == is_better(config["monitor"], 0.0, 1.0)
        told = flat(config)
        for key, value in trial.items():
            if key in told:
                assert told[key] == pytest.approx(value) if isinstance(value, float) else told[key] == value
            else:
                assert (conf_folder() / key / f"{value}.yaml").is_file()
        bands = [
            sweep["early_terminate"]["min_iter"] * sweep["early_terminate"]["eta"] ** power
            for power in (0, 1)
        ]
        assert max(bands) < config["trainer"]["max_epochs"]  # two chances to stop early


def loggers(folder: Path, **config: Any) -> list[Any]:
    node = {"_target_": "pytorch_lightning.loggers.WandbLogger", "project": "kd_lightning", "name": None}
    return build_loggers({"logger": {"wandb": node}, "overrides": [], **config}, folder)


def test_a_trial_logs_into_the_run_that_the_agent_has_prepared(agent, tmp_path):
    folder = tmp_path / "trial"
    folder.mkdir()
    config = {"optimizer": {"lr": 0.02}, "transfer": {"terms": {}}, "overrides": ["transfer=standardised"]}
    (logger,) = loggers(folder, **config)
    logger.log_metrics({"validation/accuracy": 0.5}, step=1)
    close_wandb()
    logged = read_logged(folder)
    assert (logged.run.run_id, logged.run.sweep_id, logged.run.project) == ("trial1", "swept", "kd_lightning")
    assert (folder / ".wandb_id").read_text() == "trial1"
    assert "validation/accuracy" in logged.history
    assert logged.config["optimizer.lr"] == 0.02  # what the agent chose
    assert logged.config["transfer"] == "standardised"
    assert logged.config["optimizer"] == {"lr": 0.02}  # what was trained
    assert logged.config["words"] == {"transfer": "standardised"}


def test_a_trial_that_is_stopped_early_has_not_failed(agent, tmp_path, monkeypatch):
    """wandb's search leaves out what failed, and its agent gives up after a few failures."""

    def stopped() -> int | None:
        folder = tmp_path / os.environ["WANDB_RUN_ID"]
        folder.mkdir()
        with pytest.raises(KeyboardInterrupt), closed_wandb():  # noqa: PT012
            loggers(folder)
            raise KeyboardInterrupt
        close_wandb()
        with pytest.raises(SystemExit) as ended:
            stop()
        assert read_logged(folder).exit_code == min(1, ended.value.code)
        return ended.value.code

    assert stopped() == 0
    monkeypatch.setenv("WANDB_RUN_ID", "by_hand")
    monkeypatch.delenv("WANDB_SWEEP_ID")
    assert stopped() == INTERRUPTED


def test_two_trials_in_one_folder_are_refused(agent, tmp_path, monkeypatch):
    (tmp_path / ".wandb_id").write_text("trial0")
    with pytest.raises(FileExistsError, match="holds the wandb run trial0, and this trial is trial1"):
        loggers(tmp_path)


def test_a_run_that_no_agent_has_started_keeps_the_id_of_its_folder(agent, tmp_path, monkeypatch):
    """WANDB_RUN_ID without a sweep is somebody's own, for a single run: a pipeline has several."""
    import wandb

    for name in ("WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH"):
        monkeypatch.delenv(name)
    wandb.teardown()
    (tmp_path / ".wandb_id").write_text("kept")
    loggers(tmp_path)
    close_wandb()
    assert read_logged(tmp_path).run.run_id == "kept"
