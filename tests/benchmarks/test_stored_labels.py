"""An epoch of a student that reads its teacher's labels, against the same batches without and with a live teacher."""

import time
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from in_turn import untrained_run

from kd_lightning.experiment.build import build_corpus, build_experiment
from kd_lightning.labelling import run_label
from kd_lightning.labels.format import INDEX
from kd_lightning.metrics import efficiency

ROUNDS = 7  # the live teacher, which is slow, is heard in the first
BOUND = 1.10
# With all labels the baseline draws the batches of distill.
WORDS = (
    *("corpus.views=1", "labels.views=1", "corpus.labelled_fraction=1.0"),
    *("logger=csv", "callbacks=none", "trainer.enable_progress_bar=false"),
)


class Task(NamedTuple):
    """What is taught.

    Attributes:
        words: choose teacher, student, recipe and corpus.
        larger: the teacher is so many times as large and as slow as the student, or more.
        stores: words by what is stored; the first teaches the student that is timed.
    """

    words: tuple[str, ...]
    larger: float
    stores: dict[str, tuple[str, ...]]


TASKS = {
    "keyword spotting": Task(
        ("teacher=bc_resnet8", "corpus.limit=2048"),
        20,
        {"logits": (), "top 5": ("labels.top_k=5",)},
    ),
    "recognition": Task(
        ("experiment=common_voice", "transfer=ctc_frames", "corpus.limit=640"),
        5,
        {"logits": (), "top 5": ("labels.top_k=5",), "hypotheses": ("transfer=sequence",)},
    ),
}


class EpochTime(pl.Callback):
    """Seconds from the first batch to the end of the last, without validation."""

    def __init__(self) -> None:
        self.begin = self.seconds = 0.0
        self.cuts: list[str] = []

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.begin = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.seconds = time.perf_counter() - self.begin
        self.cuts.append(batch.ids[0])


def one_epoch(config: dict[str, Any], folder: Path) -> EpochTime:
    experiment = build_experiment(config, folder)
    timed = EpochTime()
    experiment.trainer.callbacks.append(timed)
    experiment.trainer.fit(experiment.distiller, datamodule=experiment.datamodule)
    return timed


def bytes_of(store: Path) -> int:
    """Bytes of all views, with all that lies around the labels."""
    return sum(path.stat().st_size for path in (*store.glob("view_*/*"), store / INDEX))


def hours_of(config: dict[str, Any]) -> float:
    """Of the training clips as they are."""
    datamodule = build_corpus(config)
    if config["task"] == "keyword":
        return float(datamodule.train_size * datamodule.clip_samples / datamodule.sample_rate / 3600)
    return float(datamodule.train_dataloader().dataset.seconds.sum() / 3600)


@pytest.mark.parametrize("task", TASKS)
def test_stored_labels_cost_next_to_nothing(task, default_config, tmp_path, say):
    chosen = (*TASKS[task].words, *WORDS)
    teacher = untrained_run(default_config("teacher", *chosen), tmp_path / "teacher")

    def config(*words: str) -> dict[str, Any]:
        one = ("stages.distill.trainer.max_epochs=1", f"folder={tmp_path / 'distill'}")
        return default_config("distill", *chosen, *one, f"teacher.run={teacher}", *words)

    megabytes = {}
    for number, (said, words) in enumerate(TASKS[task].stores.items()):
        run_label(config(*words), tmp_path / f"label_{number}")
        megabytes[said] = bytes_of(tmp_path / f"label_{number}") / 1e6 / hours_of(config())

    stored = f"teacher.stored={tmp_path / 'label_0'}"
    arms = {"baseline": config("transfer=none"), "stored": config(stored), "live": config()}
    epochs: dict[str, list[EpochTime]] = {arm: [] for arm in arms}
    for number in range(ROUNDS):
        for arm in arms if number == 0 else ("baseline", "stored"):
            epochs[arm].append(one_epoch(arms[arm], tmp_path / f"{arm}_{number}"))

    steps = len(epochs["baseline"][0].cuts)
    assert all(epoch.cuts == epochs["baseline"][0].cuts for each in epochs.values() for epoch in each)
    built = build_experiment(config(), tmp_path / "networks")
    clip = torch.zeros(1, built.datamodule.clip_samples)
    params, macs = (
        cost(built.distiller.teacher) / cost(built.distiller.student)
        for cost in (efficiency.parameters, lambda model: efficiency.macs(model, clip))
    )
    seconds = {arm: median(epoch.seconds for epoch in each) for arm, each in epochs.items()}
    ratios = [
        stored.seconds / baseline.seconds
        for stored, baseline in zip(epochs["stored"], epochs["baseline"], strict=True)
    ]
    live = epochs["live"][0].seconds / epochs["baseline"][0].seconds
    sizes = ", ".join(f"{size:.2f} for the {said}" for said, size in megabytes.items())
    say(
        f"{task}, an epoch of {steps} steps, teacher {params:.0f} times the student in parameters and {macs:.0f} times "
        f"in operations: baseline {seconds['baseline']:.2f} s, stored labels {seconds['stored']:.2f} s, live teacher "
        f"{seconds['live']:.2f} s; stored against baseline {median(ratios):.3f} (from {min(ratios):.3f} to "
        f"{max(ratios):.3f} over {ROUNDS} epochs), live {live:.1f}; MB an hour of speech and view: {sizes}"
    )
    assert min(params, macs) >= TASKS[task].larger
    assert median(ratios) <= BOUND
