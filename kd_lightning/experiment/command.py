"""Command lines: Hydra composes the config, errors of the user's making are one line, torch is imported last."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kd_lightning.experiment.compose import Request, conf_folder, forbid_sweep_of_ranks

WRONG_INPUT = (
    ValueError,
    FileNotFoundError,
    FileExistsError,
    NotADirectoryError,
    OSError,
    FloatingPointError,
    OmegaConfBaseException,
)


def fail(error: BaseException) -> NoReturn:
    """End with one line on stderr; ``KD_TRACEBACK=1`` shows the whole trace."""
    if os.environ.get("KD_TRACEBACK"):
        raise error
    raise SystemExit(f"{type(error).__name__}: {error}")


def experiment_command(run: Callable[[Request], Any]) -> Callable[[], None]:
    """Turns ``run(request)`` into a Hydra command line over ``conf/config.yaml``."""

    def composed(config: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        request = Request(
            config=config,
            overrides=tuple(hydra_config.overrides.task),
            job_folder=hydra_config.runtime.output_dir if hydra_config.mode is RunMode.MULTIRUN else None,
            launcher=str(hydra_config.launcher._target_),
        )
        try:
            forbid_sweep_of_ranks(request)
            run(request)
        except WRONG_INPUT as error:
            fail(error)

    # Hydra resolves the task's module from the function, and joblib pickles it by reference.
    functools.update_wrapper(composed, run)

    def main() -> None:
        hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(composed)()

    return main


def run_command(run: Callable[[dict[str, Any]], Any], usage: str) -> Callable[[], None]:
    """Turns ``run(words)`` into a command line of plain ``key=value`` words, parsed as YAML."""

    def main() -> None:
        words = sys.argv[1:]
        if not words or "--help" in words or "-h" in words:
            print(usage)
            return
        try:
            parsed = OmegaConf.to_container(OmegaConf.from_dotlist(words))
            assert isinstance(parsed, dict)
            run({str(key): value for key, value in parsed.items()})
        except WRONG_INPUT as error:
            fail(error)

    return main


def existing_folder(words: dict[str, Any], key: str) -> Path:
    """The folder that ``key=`` names.

    Raises:
        ValueError: the word is missing.
        NotADirectoryError: there is no such folder.
    """
    if not words.get(key):
        raise ValueError(f"say which: {key}=<folder>")
    folder = Path(str(words.pop(key)))
    if not folder.is_dir():
        raise NotADirectoryError(f"{key}={folder} is not a folder")
    return folder
