"""A run whose wandb server is not there, or refuses the key, goes on offline."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

SCRIPT = """
import logging, sys
from pathlib import Path
from kd_lightning.experiment import loggers
from kd_lightning.stages import closed_wandb

logging.basicConfig(format="%(message)s", level=logging.INFO)
loggers.PATIENCE = 3
node = {"_target_": "pytorch_lightning.loggers.WandbLogger", "project": "p"}
for stage in ("teacher", "baseline"):
    folder = Path(sys.argv[1]) / stage
    folder.mkdir()
    with closed_wandb():
        (logger,) = loggers.build_loggers({"logger": {"wandb": node}, "seed": 0}, folder)
        logger.log_metrics({"train/loss": 1.0}, step=1)
"""


class Refuses(BaseHTTPRequestHandler):
    """A server that knows nobody."""

    def do_POST(self) -> None:
        self.send_response(401)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        "WANDB_API_KEY": "a" * 40,
        "WANDB_BASE_URL": url,
        "OMP_NUM_THREADS": "1",
        "HOME": str(folder),
    }
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.run(command, env=environment, text=True, capture_output=True, timeout=200, check=False)


@pytest.mark.slow  # wandb tries for twenty seconds
@pytest.mark.parametrize("server", ["nobody", "refusing"])
def test_a_run_that_cannot_be_sent_stays_offline_with_one_line(server, request, tmp_path):
    url = request.getfixturevalue("refusing") if server == "refusing" else "http://127.0.0.1:9"
    done = run(url, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("so the run is kept offline") == 1
    assert done.stderr.count("wandb sync") == 2
    for stage in ("teacher", "baseline"):
        assert list((tmp_path / stage / "wandb").glob("offline-run-*/*.wandb"))
