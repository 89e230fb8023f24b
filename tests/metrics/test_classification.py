"""Keyword metrics against their definitions written out in NumPy."""

import numpy as np
import pytest
import torch

from kd_lightning.metrics.classification import CALIBRATION_BINS, keyword_metrics


def by_hand(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    output = probabilities.argmax(axis=1)
    precision, recall, f1 = [], [], []
    for word in np.union1d(output, labels):
        hits = np.sum((output == word) & (labels == word))
        found, spoken = np.sum(output == word), np.sum(labels == word)
        precision.append(hits / found if found else 0.0)
        recall.append(hits / spoken if spoken else 0.0)
        f1.append(2 * hits / (found + spoken))
    confidence, right = probabilities.max(axis=1), output == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    error = sum(
        np.mean(bins == one) * abs(right[bins == one].mean() - confidence[bins == one].mean())
        for one in set(bins)
    )
    return {
        "accuracy": right.mean(),
        "precision": np.mean(precision),
        "recall": np.mean(recall),
        "f1": np.mean(f1),
        "ece": error,
    }


@pytest.fixture
def scored() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (203,), generator=generator)
    logits = torch.randn(203, 6, generator=generator)
    logits[torch.arange(203), labels] += 1.5
    return logits.softmax(dim=1), labels


def test_metrics_equal_their_definitions_over_ragged_batches(scored):
    probabilities, labels = scored
    metrics = keyword_metrics(6)
    for batch in range(0, 203, 32):
        metrics.update(probabilities[batch : batch + 32], labels[batch : batch + 32])
    computed = {key: float(value) for key, value in metrics.compute().items()}
    assert computed == pytest.approx(by_hand(probabilities.numpy(), labels.numpy()), abs=1e-6)


def test_batches_are_summed_and_never_averaged():
    metrics = keyword_metrics(2)
    metrics.update(torch.tensor([[0.9, 0.1]] * 9), torch.zeros(9, dtype=torch.int64))
    metrics.update(torch.tensor([[0.9, 0.1]]), torch.ones(1, dtype=torch.int64))
    assert float(metrics.compute()["accuracy"]) == pytest.approx(0.9)


def test_hidden_labels_do_not_count(scored):
    probabilities, labels = scored
    hidden = labels.clone()
    hidden[::3] = -100
    metrics, kept = keyword_metrics(6), keyword_metrics(6)
    metrics.update(probabilities, hidden)
    kept.update(probabilities[hidden >= 0], labels[hidden >= 0])
    assert {k: float(v) for k, v in metrics.compute().items()} == pytest.approx(
        {k: float(v) for k, v in kept.compute().items()}
    )


def test_a_sure_and_right_network_has_no_calibration_error_and_a_sure_and_wrong_one_has_all():
    sure = torch.eye(4)
    right, wrong = keyword_metrics(4), keyword_metrics(4)
    right.update(sure, torch.arange(4))
    wrong.update(sure, torch.arange(4).roll(1))
    assert float(right.compute()["ece"]) == pytest.approx(0.0, abs=1e-6)
    assert float(wrong.compute()["ece"]) == pytest.approx(1.0, abs=1e-6)


def score_a_share(rank: int, folder: str, probabilities: torch.Tensor, labels: torch.Tensor) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    metrics = keyword_metrics(6)
    share = slice(0, 160) if rank == 0 else slice(160, None)  # ranks of unequal size
    metrics.update(probabilities[share], labels[share])
    if rank == 0:
        torch.save({key: float(value) for key, value in metrics.compute().items()}, f"{folder}/metrics.pt")
    else:
        metrics.compute()
    torch.distributed.destroy_process_group()


@pytest.mark.ddp
def test_two_ranks_give_the_metrics_of_one(scored, tmp_path):
    torch.multiprocessing.spawn(score_a_share, (str(tmp_path), *scored), nprocs=2)
    probabilities, labels = (tensor.numpy() for tensor in scored)
    assert torch.load(tmp_path / "metrics.pt") == pytest.approx(by_hand(probabilities, labels), abs=1e-6)
