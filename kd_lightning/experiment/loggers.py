"""Where a run is shown beside its own files."""

from __future__ import annotations

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
    import wandb

    mode = os.environ.get(
        "WANDB_MODE"
    )  # an offline logger of Lightning sets "dryrun", for the next stage too
    offline = mode in ("offline", "dryrun") or (mode != "disabled" and not wandb.api.api_key)
    if offline:
        # The stage prints the one line that matters: how to send the run.
        os.environ.setdefault("WANDB_SILENT", "true")
    return {"offline": offline, "id": _run_id(folder)}


def _run_id(folder: Path) -> str:
    """Drawn once and kept in the run's folder, so that a resumed run goes on in the same wandb run."""
    path = folder / ".wandb_id"
    if not path.is_file():
        write(path, secrets.token_hex(8))
    return path.read_text()
