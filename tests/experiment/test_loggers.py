"""A run whose wandb server is not there, refuses the key or goes away is kept on disk, and does not wait for long."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from wandb_server import USER, Asked, serving

from kd_lightning.experiment.wandb_environment import has_wandb_key

SCRIPT = """
import logging, sys, time
from pathlib import Path
from kd_lightning.experiment import loggers
from kd_lightning.stages import closed_wandb

logging.basicConfig(format="%(message)s", level=logging.INFO)
loggers.PATIENCE = int(sys.argv[2])
loggers.UPLOAD_PATIENCE = 3
node = {"_target_": "pytorch_lightning.loggers.WandbLogger", "project": "p"}
for stage in ("teacher", "baseline"):
    folder = Path(sys.argv[1]) / stage
    folder.mkdir()
    with closed_wandb():
        (logger,) = loggers.build_loggers({"logger": {"wandb": node}, "seed": 0}, folder)
        if not logger.experiment.settings._offline:
            time.sleep(3)
        logger.log_metrics({"train/loss": 1.0}, step=1)
"""


def bucket(asked: dict) -> dict:
    """What a server says of a run that it takes."""
    project = {"id": "1", "name": "p", "entity": {"id": "1", "name": "me"}}
    kept = {
        "id": "1",
        "name": asked["name"],
        "displayName": "",
        "description": "",
        "config": "{}",
        "sweepName": None,
    }
    return {"upsertBucket": {"bucket": kept | {"project": project, "historyLineCount": 0}, "inserted": True}}


def run(url: str, folder: Path, patience: int = 3) -> subprocess.CompletedProcess[str]:
    environment = {
        "WANDB_API_KEY": "a" * 40,
        "WANDB_BASE_URL": url,
        "OMP_NUM_THREADS": "1",
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "-c", SCRIPT, str(folder), str(patience)]
    return subprocess.run(command, env=environment, text=True, capture_output=True, timeout=200, check=False)


@pytest.mark.slow  # wandb tries for twenty seconds
@pytest.mark.parametrize("status", [None, 401, 403])
def test_a_run_that_cannot_be_sent_stays_offline_with_one_line(status, tmp_path):
    with serving({"": status or 401}) as server:
        done = run(server.url if status else "http://127.0.0.1:9", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("so the run is kept offline") == 1
    assert done.stderr.count("wandb sync") == 2
    for stage in ("teacher", "baseline"):
        assert list((tmp_path / stage / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.slow
def test_a_network_that_is_lost_while_a_run_is_sent_does_not_hold_the_next_stage_up(tmp_path):
    """What was begun online is on disk; the next stage is offline."""

    def go_away(server: Asked) -> None:
        while not server.variables("UpsertBucket"):
            time.sleep(0.1)
        time.sleep(1)
        server.shutdown()
        server.server_close()

    with serving({"viewer": {"viewer": USER}, "UpsertBucket": bucket}) as server:
        threading.Thread(target=go_away, args=(server,), daemon=True).start()
        done = run(server.url, tmp_path, patience=10)
    assert done.returncode == 0, done.stderr
    assert "wandb has not taken all of this run in time: wandb sync" in done.stderr
    assert done.stderr.count("so the run is kept offline") == 1
    assert list((tmp_path / "teacher" / "wandb").glob("run-*/*.wandb"))
    assert list((tmp_path / "baseline" / "wandb").glob("offline-run-*/*.wandb"))


@pytest.mark.parametrize(
    ("host", "known"),
    [("api.wandb.ai", True), ("wandb.example.com", True), ("own.example.com", True), ("github.com", False)],
)
def test_a_key_is_found_where_login_leaves_it(host, known, tmp_path, monkeypatch):
    """For wandb's own server, under its old name and its new one, and for the one that wandb is set to."""
    import wandb

    wandb.teardown()
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "https://own.example.com")
    assert not has_wandb_key()
    (tmp_path / ".netrc").write_text(f"machine {host}\n  login user\n  password {'a' * 40}\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert has_wandb_key() is known
    wandb.teardown()
