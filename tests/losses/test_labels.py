"""Supervised losses: closed forms in float64, ignored items, precision."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.losses.labels import IGNORE, binary_cross_entropy, cross_entropy
from kd_lightning.losses.summed import Summed

Loss = Callable[..., Summed]

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [0.0, 3.0, -2.0, 1.0], [-0.5, 0.25, 4.0, 1.5]])
LABELS = torch.tensor([0, 3, 2])
BOTH = pytest.mark.parametrize("loss", [cross_entropy, binary_cross_entropy])


def smoothed(labels: Tensor, classes: int, smoothing: float) -> np.ndarray:
    return (1 - smoothing) * np.eye(classes)[labels.numpy()] + smoothing / classes


def cross_entropy_float64(logits: Tensor, labels: Tensor, smoothing: float) -> float:
    z = logits.numpy().astype(np.float64)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return float(-(smoothed(labels, z.shape[1], smoothing) * log_p).sum())


def binary_cross_entropy_float64(logits: Tensor, labels: Tensor, smoothing: float) -> float:
    z = logits.numpy().astype(np.float64)
    q, p = smoothed(labels, z.shape[1], smoothing), 1 / (1 + np.exp(-z))
    return float(-(q * np.log(p) + (1 - q) * np.log(1 - p)).mean(axis=1).sum())


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_both_equal_their_definitions_in_float64(smoothing: float) -> None:
    ours = cross_entropy(LOGITS, LABELS, smoothing)
    assert ours.sum.item() == pytest.approx(cross_entropy_float64(LOGITS, LABELS, smoothing), rel=1e-6)
    ours = binary_cross_entropy(LOGITS, LABELS, smoothing)
    assert ours.sum.item() == pytest.approx(binary_cross_entropy_float64(LOGITS, LABELS, smoothing), rel=1e-6)
    assert ours.count == 3


def test_golden_values() -> None:
    # softmax(0, ln 3) = (1/4, 3/4) and sigmoid(ln 3) = 3/4, sigmoid(0) = 1/2.
    logits = torch.tensor([[0.0, math.log(3)]])
    assert cross_entropy(logits, torch.tensor([0])).sum.item() == pytest.approx(math.log(4))
    assert cross_entropy(logits, torch.tensor([0]), 0.2).sum.item() == pytest.approx(
        0.9 * math.log(4) + 0.1 * math.log(4 / 3)
    )
    assert binary_cross_entropy(logits, torch.tensor([1])).sum.item() == pytest.approx(
        (math.log(2) + math.log(4 / 3)) / 2
    )


def test_label_smoothing_is_torchs() -> None:
    expected = functional.cross_entropy(LOGITS.double(), LABELS, label_smoothing=0.1, reduction="sum")
    assert cross_entropy(LOGITS, LABELS, 0.1).sum.item() == pytest.approx(expected.item(), rel=1e-6)


@BOTH
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_ignored_items_count_neither_in_sum_nor_count_nor_gradient(loss: Loss, smoothing: float) -> None:
    logits = LOGITS.clone().requires_grad_()
    partly = loss(logits, torch.tensor([0, IGNORE, 2]), smoothing)
    kept = loss(LOGITS[[0, 2]], LABELS[[0, 2]], smoothing)
    torch.testing.assert_close(partly, kept)
    assert partly.count == 2
    partly.sum.backward()
    assert logits.grad is not None
    assert logits.grad[1].eq(0).all()
    assert logits.grad[[0, 2]].abs().sum() > 0


@BOTH
def test_a_batch_without_labels_is_zero_of_zero(loss: Loss) -> None:
    logits = LOGITS.clone().requires_grad_()
    nothing = loss(logits, torch.full((3,), IGNORE), 0.1)
    nothing.sum.backward()
    assert (nothing.sum.item(), nothing.count.item()) == (0.0, 0.0)
    assert logits.grad is not None
    assert logits.grad.eq(0).all()


@BOTH
def test_float32_under_autocast(loss: Loss) -> None:
    low = LOGITS.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        result = loss(low, LABELS)
    assert result.sum.dtype == result.count.dtype == torch.float32
    torch.testing.assert_close(result, loss(low.float(), LABELS))


@BOTH
def test_labels_outside_the_classes_are_refused(loss: Loss) -> None:
    for label in (4, -1):
        with pytest.raises((RuntimeError, IndexError)):
            loss(LOGITS, torch.tensor([0, label, 2]))
