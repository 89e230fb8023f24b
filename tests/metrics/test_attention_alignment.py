import pytest
import torch

from kd_lightning.metrics.alignment import focus_rate, repeated_tokens, skipped_tokens


def test_focus_is_1_for_one_token_a_step_and_that_of_chance_for_all() -> None:
    read = torch.nn.functional.one_hot(torch.tensor([[0, 0, 1, 2]]), 3).float()
    unread = torch.full((1, 4, 3), 1 / 3)
    steps = torch.tensor([4])
    assert focus_rate(read, steps).item() == 1
    assert focus_rate(unread, steps).item() == pytest.approx(1 / 3)


def test_focus_equals_its_definition_in_float64_over_valid_steps() -> None:
    attention = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0)).mul(3).softmax(dim=-1)
    steps = torch.tensor([8, 3, 0])
    exact = attention.double().numpy()
    expected = [exact[0].max(axis=1).mean(), exact[1, :3].max(axis=1).mean(), 0.0]
    assert focus_rate(attention, steps).tolist() == pytest.approx(expected, rel=1e-6)
    padded = torch.nn.functional.pad(attention, (0, 0, 0, 4), value=1.0)
    assert torch.equal(focus_rate(padded, steps), focus_rate(attention, steps))


def test_what_was_skipped_and_repeated_is_counted() -> None:
    # Token 3 is never read; after token 2 the decoder goes back to token 1, and after token 4 to token 2.
    path = torch.tensor([[0, 1, 2, 1, 2, 4, 2, 5]])
    attention = torch.nn.functional.one_hot(path, 7).float()
    steps, tokens = torch.tensor([8]), torch.tensor([6])
    assert skipped_tokens(attention, steps, tokens).tolist() == [1]
    assert repeated_tokens(attention, steps).tolist() == [2]
    # After four steps it has read tokens 0 to 2, and gone back once.
    assert skipped_tokens(attention, torch.tensor([4]), tokens).tolist() == [3]
    assert repeated_tokens(attention, torch.tensor([4])).tolist() == [1]
    assert repeated_tokens(attention[:, :1], torch.tensor([1])).tolist() == [0]


def test_a_short_token_in_a_long_step_is_not_skipped() -> None:
    attention = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.3, 0.7]], [[1.0, 0.0, 0.0], [0.0, 0.02, 0.98]]])
    assert skipped_tokens(attention, torch.tensor([2, 2]), torch.tensor([3, 3])).tolist() == [0, 1]
