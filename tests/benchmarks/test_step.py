"""One distillation step against a PyTorch loop written for this recipe alone.

For the pair of the main job, whose step is short, for a MobileNetV2 taught by an EfficientNet-B0, and for recognisers.
"""

import json
import os
import time
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.corpora.utterance_batches import UtteranceBatch
from kd_lightning.experiment.build import Experiment, build_corpus, build_experiment
from kd_lightning.experiment.finished import build_model
from kd_lightning.models.waveform_model import WaveformModel
from kd_lightning.stages import closed_wandb

EPOCHS = 13  # the first warms up
PARTS = 4  # of an epoch
SAME = 3  # steps after which both still have the same loss; then rounding grows, in large networks more
BOUND = 1.05


class ByHand:
    """AdamW, one cycle, and gradients clipped where the config says so; both networks eat the same features."""

    def __init__(
        self, student: WaveformModel, teacher: WaveformModel, config: dict[str, Any], total_steps: int
    ) -> None:
        self.student, self.teacher = student.train(), teacher.eval()
        self.weights = config["distiller"]["weights"] | config["transfer"]["weights"]
        self.terms = config["transfer"]["terms"]
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


class KeywordByHand(ByHand):
    """Soft targets and cross-entropy."""

    def loss(self, batch: KeywordBatch) -> Tensor:
        temperature = self.terms["soft_targets"]["loss"]["temperature"]
        features = self.student.frontend(batch.waveform, batch.masks)
        with torch.no_grad():
            taught = (self.teacher.network(features).logits / temperature).log_softmax(dim=1)
        logits = self.student.network(features).logits
        labelled = (batch.labels >= 0).sum().clamp(min=1)
        labels = functional.cross_entropy(logits, batch.labels, reduction="sum") / labelled
        said = (logits / temperature).log_softmax(dim=1)
        soft = temperature**2 * functional.kl_div(said, taught, reduction="batchmean", log_target=True)
        return self.weights["labels"] * labels + self.weights["soft_targets"] * soft


class RecognitionByHand(ByHand):
    """CTC of transcripts, all of them seen, and soft targets of each frame; both networks have the same frames."""

    def loss(self, batch: UtteranceBatch) -> Tensor:
        features = self.student.frontend(batch.waveform, batch.masks, batch.samples)
        heard = self.student.frontend.frames(batch.samples)
        with torch.no_grad():
            taught = self.teacher.network(features, heard).logits.log_softmax(dim=2)
        logits, lengths = self.student.network(features, heard)[:2]
        said = logits.log_softmax(dim=2)
        ctc = functional.ctc_loss(said.transpose(0, 1), batch.tokens, lengths, batch.token_lengths)
        valid = torch.arange(said.shape[1]) < lengths[:, None]
        frames = functional.kl_div(said[valid], taught[valid], reduction="batchmean", log_target=True)
        return self.weights["ctc"] * ctc + self.weights["frames"] * frames


class Pair(NamedTuple):
    """The words that choose a teacher, a student and a recipe, and the loop for it."""

    words: tuple[str, ...]
    by_hand: type[ByHand]


PAIRS = {
    "tc_resnet14 to tc_resnet8_tiny": Pair((), KeywordByHand),
    "efficientnet_b0 to mobilenet_v2": Pair(
        (
            "teacher=efficientnet_b0",
            "student=mobilenet_v2",
            "student.network.dropout=0",  # would draw other masks in each loop
            "corpus.limit=960",
        ),
        KeywordByHand,
    ),
    "quartznet_teacher to quartznet_small": Pair(
        (
            *("experiment=common_voice", "transfer=ctc_frames"),
            *("corpus.labelled_fraction=1.0", "corpus.limit=480", "trainer.gradient_clip_val=1.0"),
        ),
        RecognitionByHand,
    ),
}


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
    classes = build_corpus(config).classes
    folder.mkdir()
    model = build_model(config["student"], len(classes), config["task"])
    save_file(model.state_dict(), folder / "network.safetensors")
    (folder / "config.json").write_text(json.dumps(config | {"classes": classes}))
    return folder


def copies(experiment: Experiment, config: dict[str, Any]) -> Iterator[WaveformModel]:
    """Student and teacher once more, with the same weights."""
    finished = experiment.distiller
    for node, model in ((config["student"], finished.student), (config["teacher"], finished.teacher)):
        copy = build_model(node, len(experiment.datamodule.classes), config["task"])
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
    chosen, by_hand = PAIRS[pair]
    teacher = untrained_run(default_config("teacher", *chosen), tmp_path / "teacher")
    words = (f"teacher.run={teacher}", f"stages.distill.trainer.max_epochs={EPOCHS}")
    config = default_config("distill", *chosen, *words, f"folder={tmp_path / 'distill'}")
    with closed_wandb():
        experiment = build_experiment(config, tmp_path / "distill")
        steps = EPOCHS * len(experiment.datamodule.train_dataloader())
        in_turn = InTurn(by_hand(*copies(experiment, config), config, steps))
        experiment.trainer.callbacks.append(in_turn)
        experiment.trainer.fit(experiment.distiller, datamodule=experiment.datamodule)

    real, hand = (torch.stack(losses[:SAME]) for losses in (in_turn.real_losses, in_turn.losses_by_hand))
    assert real.tolist() == pytest.approx(hand.tolist(), rel=1e-2), "the two loops train something else"
    ratios = [real / hand for real, hand in zip(in_turn.real, in_turn.by_hand, strict=True)][1:]
    milliseconds = [1000 * EPOCHS / steps * median(times[1:]) for times in (in_turn.real, in_turn.by_hand)]
    say(
        f"one step of {pair}: {milliseconds[0]:.2f} ms, by hand {milliseconds[1]:.2f} ms, ratio {median(ratios):.3f} "
        f"(from {min(ratios):.3f} to {max(ratios):.3f} over {len(ratios)} epochs of {steps // EPOCHS} steps, "
        f"{every_thread} threads)"
    )
    assert median(ratios) <= BOUND
