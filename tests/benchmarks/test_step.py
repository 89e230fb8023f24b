"""One distillation step of the default recipe against a PyTorch loop written for this recipe alone.

For the pair of the main job, whose step is short, and for a MobileNetV2 taught by an EfficientNet-B0.
"""

import json
import os
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.experiment.build import Experiment, build_corpus, build_experiment
from kd_lightning.experiment.finished import build_model
from kd_lightning.models.waveform_model import WaveformModel
from kd_lightning.stages import closed_wandb

PAIRS = {
    "tc_resnet14 to tc_resnet8_tiny": (),
    "efficientnet_b0 to mobilenet_v2": (
        "teacher=efficientnet_b0",
        "student=mobilenet_v2",
        "student.network.dropout=0",  # would draw other masks in each loop
        "corpus.limit=960",
    ),
}
EPOCHS = 13  # the first warms up
PARTS = 3  # of an epoch, real and by hand in turn
BOUND = 1.05


class ByHand:
    """Soft targets and cross-entropy, AdamW, one cycle; both networks eat the same features."""

    def __init__(
        self, student: WaveformModel, teacher: WaveformModel, config: dict[str, Any], total_steps: int
    ) -> None:
        self.student, self.teacher = student.train(), teacher.eval()
        self.weights = config["transfer"]["weights"]
        self.temperature = config["transfer"]["terms"]["soft_targets"]["loss"]["temperature"]
        lr, decay = config["optimizer"]["lr"], config["optimizer"]["weight_decay"]
        self.optimizer = torch.optim.AdamW(student.parameters(), lr=lr, weight_decay=decay)
        self.scheduler = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, lr, total_steps)

    def step(self, batch: KeywordBatch) -> Tensor:
        features = self.student.frontend(batch.waveform, batch.masks)
        with torch.no_grad():
            taught = (self.teacher.network(features).logits / self.temperature).log_softmax(dim=1)
        logits = self.student.network(features).logits
        labelled = (batch.labels >= 0).sum().clamp(min=1)
        labels = functional.cross_entropy(logits, batch.labels, reduction="sum") / labelled
        said = (logits / self.temperature).log_softmax(dim=1)
        soft = self.temperature**2 * functional.kl_div(said, taught, reduction="batchmean", log_target=True)
        loss = self.weights["labels"] * labels + self.weights["soft_targets"] * soft
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        return loss


class InTurn(pl.Callback):
    """Times a part of a real epoch, then the same batches by hand, and so on; validation is not timed.

    Attributes:
        real: seconds of each epoch, with the saves of ``last.ckpt`` that fall into it.
        by_hand: seconds of the same batches.
        losses: of both after each part.
    """

    def __init__(self, by_hand: ByHand) -> None:
        self.hand = by_hand
        self.real: list[float] = []
        self.by_hand: list[float] = []
        self.losses: list[tuple[float, float]] = []
        self.batches: Iterator[KeywordBatch] = iter(())
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
        part = int(trainer.num_training_batches) // PARTS
        if (batch_idx + 1) % part:
            return
        between = time.perf_counter()
        for same in islice(self.batches, part):
            loss = self.hand.step(same)
        done = time.perf_counter()
        self.real[-1] += between - self.since
        self.by_hand[-1] += done - between
        self.losses.append((float(outputs["loss"].detach()), float(loss.detach())))
        self.since = time.perf_counter()


def untrained_run(config: dict[str, Any], folder: Path) -> Path:
    classes = build_corpus(config).classes
    folder.mkdir()
    save_file(build_model(config["student"], len(classes)).state_dict(), folder / "network.safetensors")
    (folder / "config.json").write_text(json.dumps(config | {"classes": classes}))
    return folder


def copies(experiment: Experiment, config: dict[str, Any]) -> Iterator[WaveformModel]:
    """Student and teacher once more, with the same weights."""
    finished = experiment.distiller
    for node, model in ((config["student"], finished.student), (config["teacher"], finished.teacher)):
        copy = build_model(node, len(experiment.datamodule.classes))
        assert model is not None
        copy.load_state_dict(model.state_dict())
        yield copy


@pytest.fixture
def every_thread() -> Iterator[int]:
    """As many threads as torch takes when nobody says otherwise; the other tests take one."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    yield torch.get_num_threads()
    torch.set_num_threads(before)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_step_costs_what_it_costs_by_hand(pair, default_config, every_thread, tmp_path, say):
    teacher = untrained_run(default_config("teacher", *PAIRS[pair]), tmp_path / "teacher")
    words = (f"teacher.run={teacher}", f"stages.distill.trainer.max_epochs={EPOCHS}")
    config = default_config("distill", *PAIRS[pair], *words, f"folder={tmp_path / 'distill'}")
    with closed_wandb():
        experiment = build_experiment(config, tmp_path / "distill")
        steps = EPOCHS * len(experiment.datamodule.train_dataloader())
        in_turn = InTurn(ByHand(*copies(experiment, config), config, steps))
        experiment.trainer.callbacks.append(in_turn)
        experiment.trainer.fit(experiment.distiller, datamodule=experiment.datamodule)

    ours, by_hand = in_turn.losses[0]
    # Rounding grows with every step, in large networks more.
    assert ours == pytest.approx(by_hand, rel=1e-2), "the two loops do not train the same thing"
    ratios = [real / hand for real, hand in zip(in_turn.real, in_turn.by_hand, strict=True)][1:]
    real, hand = (1000 * EPOCHS / steps * median(times[1:]) for times in (in_turn.real, in_turn.by_hand))
    say(
        f"one step of {pair}: {real:.2f} ms, by hand {hand:.2f} ms, ratio {median(ratios):.3f} "
        f"(from {min(ratios):.3f} to {max(ratios):.3f} over {len(ratios)} epochs of {steps // EPOCHS} steps, "
        f"{every_thread} threads)"
    )
    assert median(ratios) <= BOUND
