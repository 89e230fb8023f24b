import pytest
import torch

from kd_lightning.metrics.durations import duration_error, length_ratio

SPOKEN = torch.tensor([0.05, 0.2, 0.0, 0.1])


def test_the_error_is_in_milliseconds_a_token() -> None:
    assert duration_error(SPOKEN, SPOKEN) == 0
    # 30 ms more, 10 ms less, nothing, 20 ms more: the signs do not cancel.
    said = SPOKEN + torch.tensor([0.03, -0.01, 0.0, 0.02])
    assert duration_error(said, SPOKEN) == pytest.approx(60 / 4, rel=1e-5)


def test_who_speaks_half_as_fast_needs_twice_the_time() -> None:
    assert length_ratio(2 * SPOKEN, SPOKEN) == pytest.approx(2)
    assert length_ratio(SPOKEN.flip(0), SPOKEN) == pytest.approx(1)
