"""Least squares and feature matching: closed forms, whom they pull, and empty batches."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_lightning.losses.adversarial import (
    feature_matching,
    least_squares_discriminator,
    least_squares_generator,
)

GENERATOR = torch.Generator().manual_seed(0)


def several() -> list[Tensor]:
    """Scores or activations of two items by three discriminators or layers."""
    return [torch.randn(2, *shape, generator=GENERATOR) for shape in ((7,), (4, 5), (3, 2, 6))]


def means(values: Tensor) -> np.ndarray:
    return values.double().numpy().reshape(len(values), -1).mean(axis=1)


def test_they_are_their_definitions_in_float64() -> None:
    said, recorded = several(), several()
    discriminator = sum(
        (means((a.double() - 1) ** 2) + means(b.double() ** 2)).sum()
        for a, b in zip(recorded, said, strict=True)
    )
    generator = sum(means((b.double() - 1) ** 2).sum() for b in said)
    matching = sum(means((a.double() - b.double()).abs()).sum() for a, b in zip(recorded, said, strict=True))
    found = (
        least_squares_discriminator(recorded, said),
        least_squares_generator(said),
        feature_matching(said, recorded),
    )
    for summed, expected in zip(found, (discriminator, generator, matching), strict=True):
        assert summed.sum.item() == pytest.approx(expected, rel=1e-6)
        assert summed.count == 2


def test_a_discriminator_that_is_never_wrong_and_one_that_is_always() -> None:
    ones, zeros = [torch.ones(3, 8)], [torch.zeros(3, 8)]
    assert least_squares_discriminator(ones, zeros).sum == 0
    assert least_squares_discriminator(zeros, ones).sum == 2 * 3
    assert least_squares_generator(ones).sum == 0
    assert least_squares_generator(zeros).sum == 3
    assert feature_matching(zeros, zeros).sum == 0


def test_the_scores_are_pulled_apart_and_the_vocoders_up() -> None:
    both = torch.full((2, 1, 4), 0.5).requires_grad_()
    least_squares_discriminator([both[0]], [both[1]]).sum.backward()
    assert both.grad is not None
    assert (both.grad[0] < 0).all()
    assert (both.grad[1] > 0).all()
    score = torch.full((1, 4), 0.5).requires_grad_()
    least_squares_generator([score]).sum.backward()
    assert score.grad is not None
    assert (score.grad < 0).all()


def test_a_layer_with_more_activations_weighs_no_more() -> None:
    few, many = torch.zeros(2, 3), torch.zeros(2, 300)
    assert feature_matching([few + 1, many], [few, many]).sum == 2
    assert feature_matching([few, many + 1], [few, many]).sum == 2


def test_no_item_is_zero_of_zero_and_half_precision_is_not_kept() -> None:
    said, recorded = several(), several()
    empty = [values[:0].requires_grad_() for values in said]
    for summed in (
        least_squares_discriminator(empty, empty),
        least_squares_generator(empty),
        feature_matching(empty, empty),
    ):
        summed.sum.backward()
        assert (summed.sum.item(), summed.count.item()) == (0.0, 0.0)
    low = [values.bfloat16() for values in said]
    assert least_squares_generator(low).sum.dtype == torch.float32
    assert least_squares_discriminator(low, low).sum.dtype == torch.float32
    assert feature_matching(low, recorded).sum.dtype == torch.float32


def test_features_of_different_shapes_are_refused() -> None:
    said, recorded = several(), several()
    with pytest.raises(ValueError, match=r"\(2, 4, 5\) and the teacher's \(1, 4, 5\)"):
        feature_matching(said, [recorded[0], recorded[1][:1], recorded[2]])
    with pytest.raises(ValueError, match="shorter"):
        feature_matching(said, recorded[:2])
