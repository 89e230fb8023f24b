"""The first few steps of a stage with its own Trainer: that the teacher stays as it is, and what a step costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kd_lightning.checks.finding import Finding, ok, wrong
from kd_lightning.checks.memory import Peak
from kd_lightning.experiment.build import Experiment
from kd_lightning.teachers.moving_average import MovingAverage

# Steps, and seconds after which no further one is begun; the first allocates, and is not timed.
STEPS, SECONDS = 8, 3.0


class Measured(NamedTuple):
    """What the first steps cost.

    Attributes:
        step_seconds: the median of those after the first.
        memory: peak of the process, or of the accelerator, in bytes.
        checkpoint: size of ``last.ckpt`` in bytes.
        rate: of the optimizer at the first step.
    """

    step_seconds: float
    memory: int
    checkpoint: int
    rate: float


class Probe(pl.Callback):
    """Watches the first steps, and ends training after them."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.rate = 0.0
        self.trained: set[int] = set()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.times = [time.perf_counter()]
        self.trained = {
            id(parameter)
            for optimizer in trainer.optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Optimizer
    ) -> None:
        if len(self.times) == 1:
            self.rate = float(optimizer.param_groups[0]["lr"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        if len(self.times) > STEPS or (len(self.times) > 2 and self.times[-1] - self.times[0] > SECONDS):
            trainer.should_stop = True

    @property
    def step_seconds(self) -> float:
        """The median time of a step, the first left out where there is another."""
        steps = [late - early for early, late in zip(self.times, self.times[1:], strict=False)]
        return median(steps[1:] or steps)


def first_steps(experiment: Experiment, folder: Path) -> tuple[Measured, list[Finding]]:
    """Train for a few steps.

    Args:
        experiment: built to write in ``folder``, without validation.
        folder: that nobody needs afterwards.

    Returns:
        what it costs, and what became of the teacher.

    Raises:
        FloatingPointError: the loss, its gradient or the weights after a step are not finite.
    """
    distiller, trainer, probe = experiment.distiller, experiment.trainer, Probe()
    trainer.callbacks.append(probe)  # type: ignore[attr-defined]
    teacher = distiller.teacher
    before = _state(teacher)
    peak = Peak()
    trainer.fit(distiller, datamodule=experiment.datamodule)
    memory = peak.bytes()
    path = folder / "checkpoints" / "last.ckpt"
    kept = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    findings = list(_of_teacher(teacher, before, probe.trained, kept))
    rate = f"rate {probe.rate:.2g} at the start"
    findings.append(ok("first steps", f"{len(probe.times) - 1} steps, all finite; {rate}"))
    return Measured(probe.step_seconds, memory, path.stat().st_size, probe.rate), findings


def _of_teacher(
    teacher: nn.Module | None, before: dict[str, Tensor], trained: set[int], kept: dict[str, Tensor]
) -> Iterator[Finding]:
    """What a teacher is after some steps, whose student's module was put into training mode before each."""
    if teacher is None:
        return
    if isinstance(teacher, MovingAverage):
        yield ok("teacher", "follows the student: its weights are in checkpoints and in no optimizer")
        return
    after = _state(teacher)
    faults = {
        "is in training mode, where it drops out and its BatchNorm drifts": any(
            module.training for module in teacher.modules()
        ),
        "takes gradients": any(each.requires_grad or each.grad is not None for each in teacher.parameters()),
        "is in the optimizer": any(id(each) in trained for each in teacher.parameters()),
        "is in checkpoints": any(key.startswith("teacher.") for key in kept),
        "is another one after a few steps": any(
            not torch.equal(before[key], after[key].to(before[key].device)) for key in before
        ),
    }
    if found := [fault for fault, is_there in faults.items() if is_there]:
        yield wrong("teacher", f"it {', '.join(found)}: the distiller has to keep it frozen")
        return
    buffers = sum(1 for _ in teacher.buffers())
    yield ok(
        "teacher",
        f"frozen: eval mode, no gradients, in no optimizer and no checkpoint; its {len(before) - buffers} weights and "
        f"{buffers} buffers are the same bits after the steps",
    )


def _state(module: nn.Module | None) -> dict[str, Tensor]:
    if module is None:
        return {}
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors}
