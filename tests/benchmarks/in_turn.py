"""A step of the framework against a step of a loop that is written by hand, in turn on the same batches."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import save_file
from torch import Tensor

from kd_lightning.experiment.build import Experiment, build_corpus, build_experiment, speakers_of
from kd_lightning.experiment.finished import build_model
from kd_lightning.models.waveform_model import WaveformModel
from kd_lightning.stages import closed_wandb, recorded_of
from kd_lightning.teachers.finished_run import WEIGHTS

EPOCHS = 13  # the first warms up
PARTS = 4  # of an epoch
SAME = 3  # steps after which both still have the same loss; then rounding grows, in large networks more
BOUND = 1.05


class ByHand:
    """AdamW, one cycle, and gradients clipped where the config says so; a recipe says what the loss is.

    Args:
        student: to train.
        teacher: frozen; ``None`` where nobody is asked.
        config: of the stage.
        total_steps: of the cycle.
    """

    def __init__(
        self, student: Any, teacher: WaveformModel | None, config: dict[str, Any], total_steps: int
    ) -> None:
        self.student: Any = student.train()
        self.teacher: Any = None if teacher is None else teacher.eval()
        transfer = config["transfer"] or {"weights": {}, "terms": {}}
        self.weights = config["distiller"]["weights"] | transfer["weights"]
        self.terms = transfer["terms"]
        self.clip = config["trainer"]["gradient_clip_val"]
        lr, decay = config["optimizer"]["lr"], config["optimizer"]["weight_decay"]
        self.optimizer = torch.optim.AdamW(student.parameters(), lr=lr, weight_decay=decay)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, lr, total_steps, pct_start=config["scheduler"]["warm_up"]
        )

    def step(self, batch: Any) -> Tensor:
        loss = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), self.clip)
        self.optimizer.step()
        self.scheduler.step()
        return loss

    def loss(self, batch: Any) -> Tensor:
        raise NotImplementedError


class InTurn(pl.Callback):
    """Times parts of a real epoch and the same batches by hand; validation is not timed.

    Who is second finds kernels made for the shapes of a batch, so each of the two is first in every other part.

    Attributes:
        real: seconds of each epoch, with the saves of ``last.ckpt`` that fall into it.
        by_hand: seconds of the same batches.
        real_losses: of each batch.
        losses_by_hand: of each batch.
    """

    def __init__(self, by_hand: ByHand) -> None:
        self.hand = by_hand
        self.real: list[float] = []
        self.by_hand: list[float] = []
        self.real_losses: list[Tensor] = []
        self.losses_by_hand: list[Tensor] = []
        self.batches: Iterator[Any] = iter(())
        self.since = 0.0

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        begin = time.perf_counter()
        batches = iter(trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
        # The stream asks the trainer where it is when its first batch is read, so that has to be now.
        self.batches = chain([next(batches)], batches)
        self.since = time.perf_counter()
        self.real.append(0.0)
        self.by_hand.append(self.since - begin)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.real_losses.append(outputs["loss"].detach())
        batches = int(trainer.num_training_batches) // PARTS
        part, rest = divmod(batch_idx + 1, batches)
        if rest or part > PARTS:
            return
        between = time.perf_counter()
        # The part that was just heard, and the next one before it is heard.
        for same in islice(self.batches, 2 * batches if part % 2 else 0):
            self.losses_by_hand.append(self.hand.step(same).detach())
        self.real[-1] += between - self.since
        self.since = time.perf_counter()
        self.by_hand[-1] += self.since - between


def untrained_run(config: dict[str, Any], folder: Path) -> Path:
    """A run of a stage that has learnt nothing, with all that others need of it."""
    datamodule = build_corpus(config)
    folder.mkdir()
    model = build_model(config["student"], len(datamodule.classes), config["task"], speakers_of(datamodule))
    save_file(model.state_dict(), folder / WEIGHTS)
    (folder / "config.json").write_text(json.dumps(config | recorded_of(datamodule)))
    return folder


def copies(experiment: Experiment, config: dict[str, Any]) -> Iterator[WaveformModel | None]:
    """Student and teacher once more, with the same weights."""
    finished = experiment.distiller
    for role, model in (("student", finished.student), ("teacher", finished.teacher)):
        if model is None:
            yield None
            continue
        sizes = len(experiment.datamodule.classes), config["task"], speakers_of(experiment.datamodule)
        copy = build_model(config[role], *sizes)
        copy.load_state_dict(model.state_dict())
        yield copy


@contextmanager
def every_thread() -> Iterator[int]:
    """As many threads as torch takes when nobody says otherwise; the other tests take one."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def pace(
    name: str, config: dict[str, Any], by_hand: type[ByHand], folder: Path, say: Callable[[str], None]
) -> float:
    """Train as the config says and by hand, find that both learn the same, and compare their times.

    Args:
        name: of what is compared.
        config: of the stage, with :data:`EPOCHS` epochs.
        by_hand: the loop for it.
        folder: of the run.
        say: prints a line.

    Returns:
        the time of a step over that by hand, the median of the epochs.
    """
    with every_thread() as threads, closed_wandb():
        experiment = build_experiment(config, folder)
        steps = EPOCHS * len(experiment.datamodule.train_dataloader())
        in_turn = InTurn(by_hand(*copies(experiment, config), config, steps))
        experiment.trainer.callbacks.append(in_turn)
        experiment.trainer.fit(experiment.distiller, datamodule=experiment.datamodule)

    real, hand = (
        [float(loss) for loss in losses[:SAME]] for losses in (in_turn.real_losses, in_turn.losses_by_hand)
    )
    assert real == pytest.approx(hand, rel=1e-2), f"the two loops train something else: {real} and {hand}"
    ratios = [real / hand for real, hand in zip(in_turn.real, in_turn.by_hand, strict=True)][1:]
    milliseconds = [1000 * EPOCHS / steps * median(times[1:]) for times in (in_turn.real, in_turn.by_hand)]
    say(
        f"one step of {name}: {milliseconds[0]:.2f} ms, by hand {milliseconds[1]:.2f} ms, ratio {median(ratios):.3f} "
        f"(from {min(ratios):.3f} to {max(ratios):.3f} over {len(ratios)} epochs of {steps // EPOCHS} steps, "
        f"{threads} threads)"
    )
    return median(ratios)
