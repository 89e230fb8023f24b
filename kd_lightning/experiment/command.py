"""Command lines: Hydra composes the config, errors of the user's making are one line, torch is imported last."""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from kd_lightning.experiment.compose import Request, conf_folder
from kd_lightning.experiment.misspelt import in_a_line
from kd_lightning.experiment.wandb_environment import in_wandb_sweep

WRONG_INPUT = (ValueError, OSError, ImportError, FloatingPointError, OmegaConfBaseException, HydraException)
INTERRUPTED = 130

# Words whose values are paths: a job's folder is called seed=0,transfer=none, which is not in Hydra's grammar.
PATHS = (
    *("run", "runs", "acoustic", "vocoder", "recogniser", "audio", "language_model"),
    *("corpus.root", "corpus.data", "corpus.clips.root", "corpus.clips.data"),
)


def is_wrong_input(error: Exception) -> bool:
    """Whether a message is enough; Lightning's own kind is known by name, because importing it takes seconds."""
    return isinstance(error, WRONG_INPUT) or type(error).__name__ == "MisconfigurationException"


def fail(error: BaseException) -> NoReturn:
    """End with one line on stderr; ``KD_TRACEBACK=1`` shows the whole trace, and so does a stage's train.log."""
    if os.environ.get("KD_TRACEBACK"):
        raise error
    raise SystemExit(f"{type(error).__name__}: {in_a_line(error)}")


def stop() -> NoReturn:
    """End after Ctrl-C. An agent of a wandb sweep stops trials itself, and gives up after a few that seem to fail."""
    print("stopped: the same command goes on from here", file=sys.stderr)
    raise SystemExit(0 if in_wandb_sweep() else INTERRUPTED)


def experiment_command(run: Callable[[Request], Any]) -> Callable[[], None]:
    """Turns ``run(request)`` into a Hydra command line over ``conf/config.yaml``."""

    def composed(config: DictConfig) -> None:
        hydra_config = HydraConfig.get()
        sweep = hydra_config.mode is RunMode.MULTIRUN
        request = Request(
            config=config,
            overrides=tuple(hydra_config.overrides.task),
            job_folder=hydra_config.runtime.output_dir if sweep else None,
            launcher=str(hydra_config.launcher._target_),
        )
        try:
            run(request)
        except Exception as error:
            if is_wrong_input(error) and not sweep:
                fail(error)
            # The other jobs of a sweep still run; Hydra ends with this error when they have.
            logging.getLogger("kd_lightning").error("%s: %s", type(error).__name__, error)
            raise
        except KeyboardInterrupt:
            stop()

    # Hydra finds the task's module through the function, and joblib pickles it.
    functools.update_wrapper(composed, run)

    def main() -> None:
        # A stage's part may set any key of the root config, so its words need no leading plus.
        sys.argv[1:] = [f"++{word}" if word.startswith("stages.") else word for word in sys.argv[1:]]
        os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # what it would print is said here
        try:
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name="config")(composed)()
        except Exception as error:
            if is_wrong_input(error):
                fail(error)
            raise

    return main


def run_command(
    run: Callable[[dict[str, Any]], Any],
    usage: str,
    parse: Callable[[list[str]], dict[str, Any]] | None = None,
) -> Callable[[], None]:
    """Turns ``run(words)`` into a command line of plain ``key=value`` words.

    Args:
        run: what the command does.
        usage: for ``--help``.
        parse: understands the words; :func:`nested` by default, which is Hydra's grammar but for paths.
    """

    def main() -> None:
        words = sys.argv[1:]
        if not words or "--help" in words or "-h" in words:
            print(usage)
            return
        try:
            run((parse or nested)(words))
        except Exception as error:
            if is_wrong_input(error):
                fail(error)
            raise
        except KeyboardInterrupt:
            stop()

    return main


def nested(words: list[str]) -> dict[str, Any]:
    """``["corpus.words=[yes,no]"]`` as ``{"corpus": {"words": ["yes", "no"]}}``; YAML would read booleans.

    Paths are taken as they are typed, unless they are null or in quotation marks of their own.

    Raises:
        HydraException: a word that is not ``key=value``, or a value outside of Hydra's grammar.
    """
    config, parser = OmegaConf.create(), OverridesParser.create()
    for word in words:
        key, equals, typed = word.partition("=")
        if equals and key in PATHS and typed != "null" and not typed.startswith(("'", '"')):
            OmegaConf.update(config, key, typed, force_add=True)
        else:
            (override,) = parser.parse_overrides([word])
            OmegaConf.update(config, override.key_or_group, override.value(), force_add=True)
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def as_typed(words: list[str]) -> dict[str, Any]:
    """``["text=Yes, you (too)"]`` as ``{"text": "Yes, you (too)"}``: prose is in nobody's grammar.

    Raises:
        ValueError: a word that is not ``key=value``.
    """
    for word in words:
        if "=" not in word:
            raise ValueError(f"{word!r} is not key=value; put quotation marks around texts with spaces")
    return dict(word.split("=", 1) for word in words)


def existing_folder(words: dict[str, Any], key: str) -> Path:
    """The folder that ``key=`` names; the word is taken out of ``words``.

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
