"""Tokens repeated for as many frames as they last."""

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from kd_lightning.models.length_regulator import regulate


def test_each_token_is_repeated_as_torch_repeats_it() -> None:
    encoded, durations = torch.randn(5, 9, 4), torch.randint(0, 5, (5, 9))
    expected = [tokens.repeat_interleave(count, 0) for tokens, count in zip(encoded, durations, strict=True)]
    assert torch.equal(regulate(encoded, durations), pad_sequence(expected, batch_first=True))


@pytest.mark.parametrize("frames", [3, 6, 10])
def test_a_batch_has_as_many_frames_as_are_asked_for(frames: int) -> None:
    encoded, durations = torch.randn(1, 3, 2), torch.tensor([[2, 0, 4]])
    regulated = regulate(encoded, durations, frames)
    assert regulated.shape == (1, frames, 2)
    assert torch.equal(regulated[:, :6], encoded[:, [0, 0, 2, 2, 2, 2]][:, :frames])
    assert regulated[:, 6:].eq(0).all()


def test_a_sentence_without_frames_is_zero_and_its_neighbour_is_not() -> None:
    regulated = regulate(torch.ones(2, 2, 3), torch.tensor([[0, 0], [1, 1]]))
    assert regulated.sum(dim=(1, 2)).tolist() == [0, 6]


def test_the_gradient_of_a_token_is_the_sum_over_its_frames() -> None:
    encoded, durations = torch.randn(1, 3, 2, requires_grad=True), torch.tensor([[2, 0, 4]])
    regulate(encoded, durations).sum().backward()
    assert encoded.grad is not None
    assert encoded.grad[0, :, 0].tolist() == [2, 0, 4]
