"""What is not finite reaches neither the weights nor a checkpoint."""

import json
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from kd_lightning.callbacks.checkpoints import LastCheckpoint
from kd_lightning.callbacks.non_finite import NonFiniteGuard


class Batch(NamedTuple):
    inputs: torch.Tensor
    ids: list[str]


class Rooted(pl.LightningModule):
    """Its loss is sqrt(|w x|) * scale: finite at x = 0, where its gradient is not."""

    def __init__(self, lr=0.1, scale=1.0):
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.layer.weight)
        self.lr, self.scale = lr, scale

    def training_step(self, batch, batch_idx):
        return self.scale * self.layer(batch.inputs).abs().sqrt().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def fit(module, inputs, folder):
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        callbacks=[NonFiniteGuard(str(folder)), LastCheckpoint(str(folder), every_steps=1)],
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    batches = [Batch(torch.tensor([[value]]), [f"cut{place}"]) for place, value in enumerate(inputs)]
    trainer.fit(module, DataLoader(batches, batch_size=None))


def last_weight(folder):
    return torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]["layer.weight"].item()


def test_a_finite_loss_with_another_gradient_stops_before_the_step(tmp_path):
    module = Rooted()
    with pytest.raises(
        FloatingPointError, match=r"the gradient is not finite at step 1: .*non_finite_rank0\.json"
    ):
        fit(module, [1.0, 0.0, 1.0], tmp_path)
    assert module.layer.weight.item() == pytest.approx(1 - 0.1 * 0.5)
    assert last_weight(tmp_path) == module.layer.weight.item()
    assert json.loads((tmp_path / "non_finite_rank0.json").read_text()) == {"step": 1, "cuts": ["cut1"]}


def test_a_loss_that_is_not_finite_is_named_as_such(tmp_path):
    module = Rooted()
    with pytest.raises(FloatingPointError, match="the loss is not finite at step 0"):
        fit(module, [float("nan"), 1.0], tmp_path)
    assert module.layer.weight.item() == 1.0


def test_a_gradient_whose_square_overflows_is_finite(tmp_path):
    module = Rooted(lr=1e-30, scale=1e30)
    fit(module, [1.0, 1.0], tmp_path)
    assert module.layer.weight.item() == pytest.approx(0.5 - 0.5 / 0.5**0.5)  # gradient: 0.5 / sqrt(w)


def test_weights_that_a_step_made_infinite_are_not_saved(tmp_path):
    module = Rooted(lr=1e38, scale=10.0)
    with pytest.raises(
        FloatingPointError, match=r"layer\.weight is not finite after step 1, so no checkpoint was written"
    ):
        fit(module, [1.0, 1.0], tmp_path)
    assert not (tmp_path / "last.ckpt").exists()


def test_gradients_under_a_scaler_are_the_scalers(tmp_path):
    guard, weight = NonFiniteGuard(str(tmp_path)), torch.ones(1, requires_grad=True)
    weight.grad = torch.tensor([float("inf")])
    optimizer = torch.optim.SGD([weight], lr=0.1)
    trainer = SimpleNamespace(scaler=object(), global_rank=0, global_step=0)
    guard.on_before_optimizer_step(trainer, None, optimizer)
    trainer.scaler = None
    with pytest.raises(FloatingPointError, match="the gradient"):
        guard.on_before_optimizer_step(trainer, None, optimizer)
