"""Run a teacher over a corpus once and store what it says, or go on where that was cut off."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from kd_lightning.experiment.labelling import build_labelling
from kd_lightning.stages import alone_in, written_log

log = logging.getLogger("kd_lightning")


def run_label(config: dict[str, Any], folder: Path) -> None:
    """Label the training clips in ``corpus.views`` views, or find that done.

    Args:
        config: of the stage that will learn from the labels.
        folder: of the store, ``runs/<name>/label``.

    Raises:
        FileExistsError: the folder holds labels of another teacher, corpus or the like.
        OSError: another process is labelling here, or the disk is full.
        ValueError: the teacher's outputs cannot be stored.
        KeyboardInterrupt: after Ctrl-C.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder), written_log(folder / "label.log"):
        trainer, labeller, writer, hear = build_labelling(config, folder)
        if writer.is_finished:
            log.info("%s is finished: skipped", folder)
            if trainer.is_global_zero:
                hear()
            return
        log.info(
            "label: %s, %d clips in %d views", folder, writer.fingerprint.clips, writer.fingerprint.views
        )
        # A run that was cut off before the index has nothing else left to do.
        if writer.pending():
            try:
                trainer.predict(labeller, return_predictions=False, weights_only=True)
            except SystemExit as error:
                # What Lightning makes of Ctrl-C.
                raise KeyboardInterrupt from error
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            writer.finish()
            hear()
        trainer.strategy.barrier()
