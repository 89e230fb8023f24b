"""What the benchmarks share: the default recipe on the embedded corpus in ``data``, and one printed line each."""

from collections.abc import Callable
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from kd_lightning.experiment.compose import Request, conf_folder, stage_config


@pytest.fixture
def say(capfd: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a line, with or without ``-s``, and drops what else the test and its processes had to say."""

    def line(text: str) -> None:
        capfd.readouterr()
        with capfd.disabled():
            print(f"\n{text}", flush=True)

    return line


@pytest.fixture
def default_config(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The resolved config of a stage as a user gets it, with further words; wandb stays offline."""
    monkeypatch.setenv("WANDB_MODE", "offline")

    def make(stage: str, *words: str) -> dict[str, Any]:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return stage_config(Request(compose("config", overrides=list(words))), stage)

    return make
