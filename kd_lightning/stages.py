"""Run one stage: fit or go on, test the best weights, write the run's files.

``metrics.json`` is written last: a folder that has it is a finished stage, and everything else in it is complete.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only
from safetensors.torch import save_file

from kd_lightning.experiment.build import Experiment, build_experiment
from kd_lightning.experiment.compose import difference
from kd_lightning.experiment.finished import fingerprint, fingerprints, heard_through, read_by
from kd_lightning.experiment.origin import origin
from kd_lightning.experiment.wandb_environment import in_wandb_sweep
from kd_lightning.files import whole, write
from kd_lightning.metrics import efficiency
from kd_lightning.teachers.finished_run import WEIGHTS

log = logging.getLogger("kd_lightning")

# What config.json has besides the config.
RECORDED = ("classes", "speakers", "tokens")


def rank() -> int:
    """This process's rank, also before there is a Trainer."""
    return int(getattr(rank_zero_only, "rank", 0))


def is_finished(folder: Path) -> bool:
    """Whether the stage in this folder has been trained, tested and written."""
    return (folder / "metrics.json").is_file()


def run_stage(config: dict[str, Any]) -> dict[str, Any]:
    """Train one stage in ``config["folder"]``, or finish it, or find it finished.

    Args:
        config: from :func:`~kd_lightning.experiment.compose.stage_config`.

    Returns:
        what ``metrics.json`` holds.

    Raises:
        FileExistsError: the folder holds a run with another config, or one built on other weights.
        OSError: another process is training here, or the disk is full.
    """
    folder = Path(config["folder"])
    with run_folder(config) as config:
        if is_finished(folder):
            log.info("%s is finished: skipped", folder)
            return read_metrics(folder)
        log.info("%s: %s", config["stage"], folder)
        made_by = origin(config["typed"]) if rank() == 0 else {}  # before anyone commits something else
        experiment = build_recorded(config)
        fit(experiment, folder)
        test(experiment, folder)
        if experiment.trainer.is_global_zero:
            write_results(config, experiment, folder, made_by)
        experiment.trainer.strategy.barrier()
    return read_metrics(folder)


@contextmanager
def run_folder(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Hold ``config["folder"]``, alone and with a log, for a run with this config.

    Yields:
        the config with the fingerprints of what the run builds on.

    Raises:
        FileExistsError: the folder holds a run with another config, or one built on other weights.
        OSError: another process is training here.
    """
    folder = Path(config["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    config = config | {"sources": sources(config)}
    with alone_in(folder), written_log(folder / "train.log"), closed_wandb():
        check_same_config(config, folder)
        yield config


def build_recorded(config: dict[str, Any]) -> Experiment:
    """Build a run and write its ``config.json``."""
    folder = Path(config["folder"])
    experiment = build_experiment(config, folder)
    if rank() == 0:
        recorded = config | recorded_of(experiment.datamodule)
        write(folder / "config.json", json.dumps(recorded, indent=2) + "\n")
    return experiment


def recorded_of(datamodule: Any) -> dict[str, Any]:
    """What follows from the corpus and others need to build the network again, by the keys of ``RECORDED``."""
    recorded: dict[str, Any] = {"classes": datamodule.classes}
    if hasattr(datamodule, "speakers"):
        recorded["speakers"] = datamodule.speakers
    if read := read_by(getattr(datamodule, "tokens", None)):
        recorded["tokens"] = read
    return recorded


def sources(config: dict[str, Any]) -> dict[str, Any]:
    """Fingerprints of the weights that the stage builds on; those of all members of an ensemble."""
    built_on = {
        role: fingerprints(config[role]) for role in ("teacher", "student") if config[role] is not None
    }
    return built_on if config["aligner"] is None else built_on | {"aligner": fingerprint(config["aligner"])}


def check_same_config(config: dict[str, Any], folder: Path) -> None:
    """Refuse to go on with a run, or to call it finished, under another config.

    Raises:
        FileExistsError: lists what differs.
    """
    path = folder / "config.json"
    if not path.is_file():
        return
    before = json.loads(path.read_text())
    for key in RECORDED:
        before.pop(key, None)
    if lines := difference(before, config):
        shown = "\n  ".join(lines[:12])
        raise FileExistsError(
            f"{folder} holds a run with another config:\n  {shown}\nset name=<another name>, or remove that folder"
        )


def fit(experiment: Experiment, folder: Path) -> None:
    """Train from the start, or from ``last.ckpt``.

    Raises:
        ValueError: ``last.ckpt`` is damaged or not of this run.
        KeyboardInterrupt: after Ctrl-C.
    """
    last = folder / "checkpoints" / "last.ckpt"
    resume = last if last.is_file() else None
    if resume is not None:
        read_checkpoint(resume, experiment)
        log.info("going on from %s", resume)
    try:
        experiment.trainer.fit(
            experiment.distiller, datamodule=experiment.datamodule, ckpt_path=resume, weights_only=True
        )
    except SystemExit as error:
        # What Lightning makes of Ctrl-C.
        raise KeyboardInterrupt from error


def read_checkpoint(path: Path, experiment: Experiment) -> dict[str, Any]:
    """A checkpoint of this run; only tensors and primitives are read.

    Raises:
        ValueError: it is damaged, holds anything else, or another network's weights.
    """
    try:
        checkpoint = dict(torch.load(path, map_location="cpu", weights_only=True))
        found = {name: tensor.shape for name, tensor in checkpoint["state_dict"].items()}
        loops, _ = checkpoint["loops"], checkpoint["logged_terms"]
    except Exception as error:
        raise ValueError(
            f"{path} is damaged or not ours: remove it to train this stage from the start"
        ) from error
    own = {name: tensor.shape for name, tensor in experiment.distiller.state_dict().items()}
    if not loops or found != {
        name: shape for name, shape in own.items() if not experiment.distiller.is_fixed(name)
    }:
        raise ValueError(f"{path} is of another network: remove it to train this stage from the start")
    return checkpoint


def test(experiment: Experiment, folder: Path) -> None:
    """Score the best weights on the test set; the distiller then holds them, and the predictions.

    Raises:
        ValueError: ``best.ckpt`` is damaged or not of this run.
    """
    checkpoint = read_checkpoint(folder / "checkpoints" / "best.ckpt", experiment)
    experiment.distiller.on_load_checkpoint(checkpoint)
    experiment.distiller.load_state_dict(checkpoint["state_dict"])
    experiment.trainer.test(experiment.distiller, datamodule=experiment.datamodule, verbose=False)


def write_results(
    config: dict[str, Any], experiment: Experiment, folder: Path, made_by: dict[str, Any]
) -> None:
    """Write weights, predictions and, last, metrics with where they come from."""
    distiller, trainer, datamodule = experiment.distiller, experiment.trainer, experiment.datamodule
    student = distiller.student.cpu().eval()
    with whole(folder / WEIGHTS) as beside:
        save_file({name: tensor.contiguous() for name, tensor in student.state_dict().items()}, beside)
    write(folder / "predictions.jsonl", "".join(json.dumps(line) + "\n" for line in distiller.predictions))
    example, seconds = distiller.measured(datamodule)
    latency = efficiency.latency(lambda: student(*example))
    metrics = {
        "stage": config["stage"],
        "network": type(student.network).__name__,
        "seed": config["seed"],
        "params": efficiency.parameters(student),
        "macs": efficiency.macs(student, *example),
        "size_bytes": (folder / WEIGHTS).stat().st_size,
        "clip_seconds": seconds,
        "latency_ms": latency._asdict(),
        "real_time_factor": efficiency.real_time_factor(latency.p50, seconds),
        "train_seconds": experiment.timer.time_elapsed("train"),
        "steps": trainer.global_step,
        "best_step": experiment.best.step,
        "validation": {config["monitor"].removeprefix("validation/"): experiment.best.score},
        "metrics": {key: float(value) for key, value in trainer.callback_metrics.items() if "/" not in key},
        "intervals": distiller.intervals(),
        "notes": experiment.notes,
        **distiller.scoring(),
        **heard_through(config),
        **made_by,
    }
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update(metrics)
    write(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")


def read_metrics(folder: Path) -> dict[str, Any]:
    """A finished stage's ``metrics.json``."""
    return dict(json.loads((folder / "metrics.json").read_text()))


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the run's folder on rank 0.

    Raises:
        OSError: another process holds it.
    """
    if rank() != 0:
        yield
        return
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OSError(
            f"another process is training in {folder}: wait for it, or set name=<another name>"
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def written_log(path: Path) -> Iterator[None]:
    """Copy what rank 0 logs to ``train.log``, and the trace of what ends the stage."""
    if rank() != 0:
        log.setLevel(logging.WARNING)
        yield
        return
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
    loggers = [logging.getLogger(name) for name in ("kd_lightning", "pytorch_lightning")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    except BaseException as error:
        trace = logging.makeLogRecord({"name": log.name, "levelname": "ERROR", "msg": "the stage ended"})
        trace.exc_info = (type(error), error, error.__traceback__)
        handler.handle(trace)
        raise
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


@contextmanager
def closed_wandb() -> Iterator[None]:
    """Finish the wandb run with the stage: the next job would log into it, and a failure would look done.

    A trial that the agent of a sweep stops early has not failed: the search learns from what it had reached.
    """
    failed = True
    try:
        yield
        failed = False
    except KeyboardInterrupt:
        failed = not in_wandb_sweep()
        raise
    finally:
        wandb = sys.modules.get("wandb")
        if wandb is not None and wandb.run is not None:
            offline, folder = wandb.run.settings._offline, Path(wandb.run.dir).parent
            try:
                wandb.finish(exit_code=int(failed))
            except TimeoutError:
                log.warning("wandb has not taken all of this run in time: wandb sync %s", folder)
            if offline:
                log.info("to see this run online: wandb sync %s", folder)
