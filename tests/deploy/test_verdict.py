"""Whether a file kept what its network could do, and what is advised where it did not."""

import pytest

from kd_lightning.deploy.verdict import lost, verdict


def result(precision: str, key: str, change: float) -> dict:
    bounds = [change - 0.01, change + 0.01]
    return {
        "precision": precision,
        "metrics": {f"{key}_change": change},
        "intervals": {f"{key}_change": bounds},
    }


@pytest.mark.parametrize(
    ("task", "key", "change", "cost"),
    [
        ("keyword", "accuracy", -0.01, 0.01),
        ("recognition", "wer", -0.01, -0.01),
        ("vocoding", "mcd", 0.2, 0.2),
    ],
)
def test_a_higher_error_and_a_lower_accuracy_are_losses(task: str, key: str, change: float, cost: float):
    assert lost(result("int8", key, change), task) == pytest.approx(cost)


@pytest.mark.parametrize(
    ("task", "key", "change", "said"),
    [
        (
            "keyword",
            "accuracy",
            0.02,
            "int8 keeps accuracy within 0.5 points of PyTorch: +2.0 [+1.0, +3.0] points",
        ),
        (
            "keyword",
            "accuracy",
            -0.02,
            "int8 costs more than 0.5 points of accuracy: -2.0 [-3.0, -1.0] points; train",
        ),
        (
            "recognition",
            "wer",
            0.02,
            "int8 costs more than 0.5 points of WER: +2.0 [+1.0, +3.0] points; export prec",
        ),
        ("synthesis", "mcd", 0.05, "int8 keeps MCD within 0.1 dB of PyTorch: +0.05 [+0.04, +0.06] dB"),
        (
            "vocoding",
            "mcd",
            0.15,
            "int8 costs more than 0.1 dB of MCD: +0.15 [+0.14, +0.16] dB; export precision=fp16",
        ),
    ],
)
def test_half_a_point_or_a_tenth_of_a_decibel_is_forgiven(task: str, key: str, change: float, said: str):
    assert verdict(result("int8", key, change), task).startswith(said)


def test_what_to_do_depends_on_task_and_precision():
    assert "quantisation=int8" in verdict(result("int8", "accuracy", -0.02), "keyword")
    assert "quantisation" not in verdict(result("int8", "wer", 0.02), "recognition")
    assert verdict(result("fp16", "accuracy", -0.02), "keyword").endswith("export precision=fp32")
