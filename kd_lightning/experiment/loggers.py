"""Where a run is shown beside its own files."""

from __future__ import annotations

import logging
import netrc
import os
import secrets
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger

from kd_lightning.experiment.targets import build
from kd_lightning.files import write

log = logging.getLogger("kd_lightning")

# Seconds to wait for wandb's server; its own default is 90.
PATIENCE = 20


def build_loggers(config: dict[str, Any], folder: Path) -> list[Logger]:
    """The loggers of the config. wandb writes to disk where it has no key or no server; a run folder is one wandb run.

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
    offline = mode in ("offline", "dryrun") or (mode != "disabled" and not _has_wandb_key())
    logger = build(node, WandbLogger, save_dir=str(folder), **_wandb(folder, mode, offline))
    try:
        logger.log_hyperparams(config)  # the first call that needs the server
    except wandb.Error as error:
        log.warning(
            "wandb cannot be reached or refuses the key, so the run is kept offline (%s)", _first_line(error)
        )
        wandb.teardown()  # its process would hold the run's id
        logger = build(node, WandbLogger, save_dir=str(folder), **_wandb(folder, "offline", True))
        logger.log_hyperparams(config)
    return logger


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _wandb(folder: Path, mode: str | None, offline: bool) -> dict[str, Any]:
    if offline:
        # The stage prints the one line that matters: how to send the run.
        os.environ.setdefault("WANDB_SILENT", "true")
    return {
        "offline": offline,
        # Lightning says so by an environment variable alone, which a session that wandb has begun does not read again.
        "mode": "offline" if offline else mode,
        "id": _run_id(folder),
        "settings": {"init_timeout": PATIENCE},
    }


def _has_wandb_key() -> bool:
    """Whether there is a key in the environment, or ``wandb login`` has left one."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return any("wandb" in host for host in netrc.netrc().hosts)
    except (OSError, netrc.NetrcParseError):
        return False


def _run_id(folder: Path) -> str:
    """Drawn once and kept in the run's folder, so that a resumed run goes on in the same wandb run."""
    path = folder / ".wandb_id"
    if not path.is_file():
        write(path, secrets.token_hex(8))
    return path.read_text()
