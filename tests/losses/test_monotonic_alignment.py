from itertools import combinations, pairwise
from time import process_time

import numpy as np
import pytest
import torch
from torch import Tensor

from kd_lightning.losses.monotonic_alignment import durations_of


def best_by_search(weights: np.ndarray, frames: int) -> tuple[float, list[int]]:
    """The best of all ways to cut frames into one run a token, and its runs."""
    tokens = weights.shape[1]
    found: tuple[float, list[int]] = (-np.inf, [])
    for cuts in combinations(range(1, frames), tokens - 1):
        edges = [0, *cuts, frames]
        score = sum(np.log(weights[start:end, u]).sum() for u, (start, end) in enumerate(pairwise(edges)))
        found = max(found, (float(score), [end - start for start, end in pairwise(edges)]))
    return found


def random_attention(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(2).softmax(dim=-1)


@pytest.mark.parametrize("frames_per_step", [1, 2, 3])
def test_the_path_is_the_best_of_all_monotonic_ones_in_a_ragged_batch(frames_per_step: int) -> None:
    attention = random_attention(6, 9, 5)
    tokens, frames = torch.tensor([5, 4, 3, 2, 1, 5]), torch.tensor([9, 7, 8, 2, 6, 5])
    durations = durations_of(attention, tokens, frames, frames_per_step)
    for row, (count, length) in enumerate(zip(tokens.tolist(), frames.tolist(), strict=True)):
        of_frames = (
            attention[row, :, :count].double().repeat_interleave(frames_per_step, dim=0)[:length].numpy()
        )
        score, _ = best_by_search(of_frames, length)
        own = durations[row, :count].tolist()
        path = np.repeat(np.arange(count), own)
        assert sum(own) == length
        assert min(own) >= 1
        assert durations[row, count:].eq(0).all()
        # Within a step weights are equal, so several paths may be best.
        assert np.log(of_frames[np.arange(length), path]).sum() == pytest.approx(score, rel=1e-6)


def test_sharp_attention_gives_its_own_durations_in_whole_steps() -> None:
    steps = torch.tensor([0, 0, 1, 2, 2, 2, 3])
    attention = torch.nn.functional.one_hot(steps, 4)[None].float()
    assert durations_of(attention, torch.tensor([4]), torch.tensor([28]), 4).tolist() == [[8, 4, 12, 4]]
    # The last step is not whole.
    assert durations_of(attention, torch.tensor([4]), torch.tensor([26]), 4).tolist() == [[8, 4, 12, 2]]


def test_a_decoder_with_long_steps_may_speak_several_tokens_in_one() -> None:
    attention = torch.tensor([[[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]])
    durations = durations_of(attention, torch.tensor([3]), torch.tensor([8]), 4)
    assert durations[0, :2].sum() == 4
    assert durations[0].min() >= 1


def test_an_utterance_with_fewer_frames_than_tokens_is_spread_evenly() -> None:
    attention = random_attention(3, 10, 6)
    durations = durations_of(attention, torch.tensor([6, 4, 6]), torch.tensor([3, 10, 0]))
    assert durations[0].tolist() == [0, 1, 0, 1, 0, 1]
    assert durations.sum(dim=1).tolist() == [3, 10, 0]
    assert durations_of(attention[:0], torch.zeros(0).long(), torch.zeros(0).long()).shape == (0, 6)


def test_padding_changes_nothing() -> None:
    attention = random_attention(2, 40, 12)
    tokens, frames = torch.tensor([12, 7]), torch.tensor([80, 31])
    padded = torch.nn.functional.pad(attention, (0, 3, 0, 9), value=1.0)
    alone = durations_of(attention[1:, :16, :7], tokens[1:], frames[1:], 2)
    assert torch.equal(durations_of(padded, tokens, frames, 2)[1:, :7], alone)


def test_a_batch_of_sixteen_long_sentences_takes_well_under_a_second() -> None:
    attention = random_attention(16, 250, 100)
    start = process_time()
    durations_of(attention, torch.full((16,), 100), torch.full((16,), 1000), 4)
    assert process_time() - start < 0.5
