"""Where a run is shown beside its own files."""

from __future__ import annotations

import netrc
import os
import secrets
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger

from kd_lightning.experiment.targets import build
from kd_lightning.files import write


def build_loggers(config: dict[str, Any], folder: Path) -> list[Logger]:
    """The loggers of the config. wandb writes to disk where there is no key; a run folder is one wandb run.

    Args:
        config: of the stage.
        folder: the run's folder.
    """
    loggers: list[Logger] = []
    for node in (config["logger"] or {}).values():
        extra = _wandb(folder) if str(node["_target_"]).endswith("WandbLogger") else {}
        logger = build(node, Logger, save_dir=str(folder), **extra)
        if isinstance(logger, WandbLogger):
            logger.log_hyperparams(config)
        loggers.append(logger)
    return loggers


def _wandb(folder: Path) -> dict[str, Any]:
    # Lightning's offline logger leaves "dryrun" behind, for the next stage to find.
    mode = os.environ.get("WANDB_MODE")
    offline = mode in ("offline", "dryrun") or (mode != "disabled" and not _has_wandb_key())
    if offline:
        # The stage prints the one line that matters: how to send the run.
        os.environ.setdefault("WANDB_SILENT", "true")
    # Lightning says so by an environment variable alone, which a session that wandb has begun does not read again.
    return {"offline": offline, "mode": "offline" if offline else mode, "id": _run_id(folder)}


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
