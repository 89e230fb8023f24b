"""An epoch of a student that reads its teacher's labels, against the same batches without and with a live teacher."""

import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from test_step import untrained_run

from kd_lightning.experiment.build import build_experiment
from kd_lightning.labelling import run_label
from kd_lightning.labels.format import INDEX
from kd_lightning.metrics import efficiency

ROUNDS = 7  # the live teacher, which is slow, is heard in the first
LARGER = 20
BOUND = 1.10
# With all labels the baseline draws the batches of distill.
WORDS = (
    *("teacher=bc_resnet8", "corpus.limit=2048", "corpus.views=1", "corpus.labelled_fraction=1.0"),
    *("logger=csv", "callbacks=none", "trainer.enable_progress_bar=false"),
)


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


def bytes_of(store: Path) -> float:
    """Bytes for a clip and view, with all that lies around the labels."""
    index = json.loads((store / INDEX).read_text())
    files = sum(path.stat().st_size for path in store.glob("view_*/*")) + (store / INDEX).stat().st_size
    return files / index["fingerprint"]["clips"] / index["fingerprint"]["views"]


def test_stored_labels_cost_next_to_nothing(default_config, tmp_path, say):
    teacher = untrained_run(default_config("teacher", *WORDS), tmp_path / "teacher")

    def config(*words: str) -> dict[str, Any]:
        one = ("stages.distill.trainer.max_epochs=1", f"folder={tmp_path / 'distill'}")
        return default_config("distill", *WORDS, *one, f"teacher.run={teacher}", *words)

    sizes = {}
    for name, top_k in (("label", "null"), ("top_5", 5)):
        run_label(config(f"++labels={{views: 1, top_k: {top_k}, dtype: float16}}"), tmp_path / name)
        sizes[name] = bytes_of(tmp_path / name)

    stored = ("++labels={views: 1, top_k: null, dtype: float16}", f"++teacher.stored={tmp_path / 'label'}")
    arms = {"baseline": config("transfer=none"), "stored": config(*stored), "live": config()}
    epochs: dict[str, list[EpochTime]] = {arm: [] for arm in arms}
    for number in range(ROUNDS):
        for arm in arms if number == 0 else ("baseline", "stored"):
            epochs[arm].append(one_epoch(arms[arm], tmp_path / f"{arm}_{number}"))

    steps = len(epochs["baseline"][0].cuts)
    assert all(epoch.cuts == epochs["baseline"][0].cuts for each in epochs.values() for epoch in each)
    built = build_experiment(config(), tmp_path / "networks").distiller
    clip = torch.zeros(1, 16000)
    params, macs = (
        cost(built.teacher) / cost(built.student)
        for cost in (efficiency.parameters, lambda model: efficiency.macs(model, clip))
    )
    seconds = {arm: median(epoch.seconds for epoch in each) for arm, each in epochs.items()}
    ratios = [
        stored.seconds / baseline.seconds
        for stored, baseline in zip(epochs["stored"], epochs["baseline"], strict=True)
    ]
    live = epochs["live"][0].seconds / epochs["baseline"][0].seconds
    say(
        f"an epoch of {steps} steps, teacher {params:.0f} times the student in parameters and {macs:.0f} times in "
        f"operations: baseline {seconds['baseline']:.2f} s, stored labels {seconds['stored']:.2f} s, live teacher "
        f"{seconds['live']:.2f} s; stored against baseline {median(ratios):.3f} (from {min(ratios):.3f} to "
        f"{max(ratios):.3f} over {ROUNDS} epochs), live {live:.1f}; "
        f"bytes a clip and view: {sizes['label']:.0f} for the logits, {sizes['top_5']:.0f} for the top 5"
    )
    assert min(params, macs) >= LARGER
    assert median(ratios) <= BOUND
