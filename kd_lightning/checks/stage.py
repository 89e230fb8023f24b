"""Check one stage: build it as it will be built, and try a few of its steps in a folder of no matter."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from kd_lightning.checks.agreement import agreement
from kd_lightning.checks.costs import Costs
from kd_lightning.checks.dry_step import dry_step, of_terms
from kd_lightning.checks.finding import Finding, Level, ok, warning, wrong
from kd_lightning.checks.first_steps import Measured, first_steps
from kd_lightning.checks.hint_shapes import hint_shapes
from kd_lightning.checks.labels_seen import labels_seen, padding, transcripts
from kd_lightning.checks.stand_ins import StandIns
from kd_lightning.checks.stored import of_store, store_to_write, stored_labels
from kd_lightning.distillers.recognition_terms import CTC
from kd_lightning.experiment.build import Experiment, build_experiment, learns_from_teacher
from kd_lightning.metrics import efficiency
from kd_lightning.stages import check_same_config, is_finished, sources

log = logging.getLogger("kd_lightning")


class Checked(NamedTuple):
    """What was found of a stage.

    Attributes:
        findings: in the order in which they matter.
        costs: an estimate; ``None`` where the stage cannot be built.
    """

    findings: list[Finding]
    costs: Costs | None

    @property
    def is_wrong(self) -> bool:
        """Whether training would end in an error, or in nothing."""
        return any(finding.level is Level.WRONG for finding in self.findings)


def check_stage(config: dict[str, Any], stand_ins: StandIns) -> Checked:
    """Check a stage, and let later ones find a run in its place.

    Args:
        config: of the stage, as the pipeline has it.
        stand_ins: for runs that are not there yet.
    """
    run, scratch = Path(config["folder"]), stand_ins.folder / "tried" / config["stage"]
    scratch.mkdir(parents=True)
    findings: list[Finding] = []
    if missing := stand_ins.missing(config):
        said = f"not checked: it builds on {', '.join(missing)}, where something is wrong"
        return Checked([wrong(config["stage"], said)], None)
    try:
        check_same_config(config | {"sources": sources(config)}, run)
        tried = tried_config(stand_ins.put_into(config), stand_ins.teach(config))
        findings += _of_machine(config)
        experiment = build_experiment(tried, scratch)
        findings += _of_what_is_there(config, stand_ins)
        tried_out = _try_out(config, experiment, scratch, findings, stand_ins.teach(config))
        costs = _costs(config, experiment, tried_out)
    except Exception as error:
        if os.environ.get("KD_TRACEBACK"):
            raise
        log.debug("what ended the check", exc_info=error)
        stand_ins.fail(config)
        return Checked([*findings, wrong(config["stage"], f"{type(error).__name__}: {error}")], None)
    stand_ins.make(config, experiment.datamodule, experiment.distiller.student)
    return Checked(findings, costs)


def tried_config(config: dict[str, Any], untaught: bool = False) -> dict[str, Any]:
    """A stage's config to be tried out: in one process, without loggers, callbacks and validation.

    Args:
        config: of the stage.
        untaught: whether its teacher has learnt nothing, so that nobody asks how well it attends.
    """
    trainer = config["trainer"] | {
        "devices": 1,
        "num_nodes": 1,
        "strategy": "auto",
        "limit_val_batches": 0,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    if not _has_accelerator(config):
        trainer |= {"accelerator": "cpu", "precision": "32-true"}
    distiller = config["distiller"]
    if untaught and "min_focus" in distiller:
        distiller = distiller | {"min_focus": 0.0}
    return config | {
        "trainer": trainer,
        "distiller": distiller,
        "logger": {},
        "callbacks": {},
        "stop_at": None,
    }


def _has_accelerator(config: dict[str, Any]) -> bool:
    return config["trainer"]["accelerator"] not in ("gpu", "cuda") or torch.cuda.is_available()


def _of_machine(config: dict[str, Any]) -> Iterator[Finding]:
    if not _has_accelerator(config):
        yield warning(
            "machine",
            f"trainer.accelerator={config['trainer']['accelerator']} and there is none here: tried on the CPU, so time "
            "and memory are not those of the run",
        )


def _of_what_is_there(config: dict[str, Any], stand_ins: StandIns) -> Iterator[Finding]:
    if is_finished(Path(config["folder"])):
        yield ok("run", f"{config['folder']} is finished: the pipeline goes on from it")
    if stand_ins.teach(config):
        yield ok("teacher", f"{config['teacher']['run']} is not trained yet: checked with random weights")


class _TriedOut(NamedTuple):
    """What the first steps of a stage cost, a validation, and a store of labels that it will read."""

    measured: Measured | None = None
    validation: float = 0.0
    store: int = 0


def _try_out(
    config: dict[str, Any], experiment: Experiment, scratch: Path, findings: list[Finding], untaught: bool
) -> _TriedOut:
    """Check the parts of a stage, and add what is found."""
    distiller, datamodule = experiment.distiller, experiment.datamodule
    findings += agreement(distiller, datamodule)
    if not learns_from_teacher(config):
        findings += labels_seen(datamodule)
    findings += padding(datamodule)
    has_ctc = any(isinstance(term, CTC) for term in distiller.terms.values())
    findings += transcripts(datamodule, distiller.student, has_ctc)
    findings += stored_labels(config, datamodule)
    batch = next(iter(datamodule.train_dataloader()))
    dry = dry_step(distiller, batch)
    findings += hint_shapes(distiller, dry.step)
    findings += of_terms(dry.terms, config["trainer"]["gradient_clip_val"], untaught)
    store = store_to_write(config, datamodule, dry.step, len(batch.ids))
    if not experiment.trainer.max_epochs or not any(each.requires_grad for each in distiller.parameters()):
        findings.append(ok("first steps", "none: trainer.max_epochs=0"))
        return _TriedOut()
    measured, of_teacher = first_steps(experiment, scratch)
    findings += of_teacher
    if store is not None:
        findings.append(of_store(store, measured.step_seconds / len(batch.ids)))
    return _TriedOut(measured, _validation_seconds(experiment), store.bytes if store else 0)


@torch.no_grad()
def _validation_seconds(experiment: Experiment) -> float:
    """Seconds that a validation takes, from its first batch: all have about as much audio."""
    distiller, seconds = experiment.distiller.eval(), 0.0
    loaders = experiment.datamodule.val_dataloader()
    for number, loader in enumerate(loaders if isinstance(loaders, list) else [loaders]):
        batch = next(iter(loader)).to(distiller.device)
        begin = time.perf_counter()
        distiller.validation_step(batch, 0, *((number,) if isinstance(loaders, list) else ()))
        seconds += (time.perf_counter() - begin) * len(loader)
    return seconds


def _costs(config: dict[str, Any], experiment: Experiment, tried: _TriedOut) -> Costs:
    trainer, student = config["trainer"], experiment.distiller.student
    processes = trainer["num_nodes"] * (trainer["devices"] if isinstance(trainer["devices"], int) else 1)
    done = is_finished(Path(config["folder"]))
    weights = efficiency.size_bytes(student)
    known = tried.measured or Measured(0.0, 0, weights, 0.0)
    return Costs(
        stage=config["stage"],
        network=type(student.network).__name__,
        parameters=efficiency.parameters(student),
        epochs=0 if done else trainer["max_epochs"] or 0,
        epoch_steps=max(1, len(experiment.datamodule.train_dataloader()) // max(1, processes)),
        step_seconds=known.step_seconds,
        validation_seconds=tried.validation,
        memory=known.memory,
        disk=0 if done else 2 * known.checkpoint + weights + tried.store,
    )
