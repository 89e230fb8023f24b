"""Where a run is shown beside its own files."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger

from kd_lightning.experiment.targets import build
from kd_lightning.experiment.wandb_environment import has_wandb_key, in_wandb_sweep
from kd_lightning.files import write

log = logging.getLogger("kd_lightning")

# Seconds to wait for wandb's server at the start; its own default is 90.
PATIENCE = 20
# Seconds to wait at the end for what is still to be sent; its own default is forever. `wandb sync` sends the rest.
UPLOAD_PATIENCE = 600


def build_loggers(config: dict[str, Any], folder: Path) -> list[Logger]:
    """The loggers of the config. wandb writes to disk where it has no key or no server; a run folder is one wandb run.

    A process that an agent of a wandb sweep has started logs into the run that the agent has prepared.

    Args:
        config: of the stage.
        folder: the run's folder.
    """
    return [
        _build_wandb(node, config, folder)
        if str(node["_target_"]).endswith("WandbLogger")
        else build(node, Logger, save_dir=str(folder))
        for node in (config["logger"] or {}).values()
    ]


def _build_wandb(node: dict[str, Any], config: dict[str, Any], folder: Path) -> Logger:
    import wandb

    # Lightning's offline logger leaves "dryrun" behind, for the next stage to find.
    mode = os.environ.get("WANDB_MODE")
    keyed = has_wandb_key()
    offline = mode in ("offline", "dryrun") or (mode != "disabled" and not keyed)
    logger = build(node, WandbLogger, save_dir=str(folder), **_wandb(folder, mode, offline))
    try:
        logger.log_hyperparams(_shown(config))  # the first call that needs the server
    except wandb.Error as error:
        log.warning(
            "wandb cannot be reached or refuses the key, so the run is kept offline (%s)", _first_line(error)
        )
        wandb.teardown()  # its process would hold the run's id
        logger = build(node, WandbLogger, save_dir=str(folder), **_wandb(folder, "offline", True))
        logger.log_hyperparams(_shown(config))
    return logger


def _shown(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the choices that were typed: ``transfer`` holds a recipe's terms, ``words.transfer`` its name."""
    words = (word.lstrip("+").split("=", 1) for word in config.get("overrides", []) if "=" in word)
    return config | {"words": {key: value for key, value in words if "." not in key}}


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _wandb(folder: Path, mode: str | None, offline: bool) -> dict[str, Any]:
    if offline:
        # The stage prints the one line that matters: how to send the run.
        os.environ.setdefault("WANDB_SILENT", "true")
    run = _run_id(folder)
    return {
        "offline": offline,
        # Lightning says so by an environment variable alone, which a session that wandb has begun does not read again.
        "mode": "offline" if offline else mode,
        "id": None if in_wandb_sweep() else run,  # wandb takes the agent's, and warns of any other
        "settings": {
            "init_timeout": PATIENCE,
            "finish_timeout": UPLOAD_PATIENCE,
            "finish_timeout_raises": True,  # the stage says what to do
        },
    }


def _run_id(folder: Path) -> str:
    """Drawn once and kept in the run's folder, so that a resumed run goes on in the same wandb run.

    Raises:
        FileExistsError: the agent of a sweep has prepared another run than the one that lies here.
    """
    path = folder / ".wandb_id"
    prepared = os.environ["WANDB_RUN_ID"] if in_wandb_sweep() else None
    if not path.is_file():
        write(path, prepared or secrets.token_hex(8))
    kept = path.read_text()
    if prepared not in (None, kept):
        raise FileExistsError(
            f"{folder} holds the wandb run {kept}, and this trial is {prepared}: give each trial a folder, as in "
            "conf/wandb_sweep, with folder=${paths.runs}/sweep-${oc.env:WANDB_SWEEP_ID}/${oc.env:WANDB_RUN_ID}"
        )
    return kept
