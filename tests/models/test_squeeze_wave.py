"""SqueezeWave: the published multiply-accumulates, sizes, and a mel that is held."""

import pytest
import torch
from flows import assert_the_comment_counts, configured, stirred

from kd_lightning.metrics.efficiency import macs
from kd_lightning.models.squeeze_wave import SqueezeWave

# Billions a second in table 1 of Zhai et al. 2020; WaveGlow needs 228.9 and up to 332 times as many.
PUBLISHED = {"128l": (3.78, 60), "64l": (2.16, 106), "128s": (1.06, 214), "64s": (0.68, 332)}


@pytest.mark.parametrize(("size", "published"), PUBLISHED.items())
def test_multiply_accumulates_are_the_published_ones(size: str, published: tuple[float, int]) -> None:
    # The paper divides those of 16,384 samples (64 frames) by 0.725 s, and cuts digits off: of 0.687 remains 0.68.
    # At 22,050 Hz they last 0.743 s: what is spoken a second is 2.4 % less.
    network = configured("student", f"squeeze_wave_{size}", device="cpu")
    assert 16384 // network.group == int(size[:-1])
    counted = macs(network, torch.zeros(1, 80, 64)) / 0.725 / 1e9
    billions, reduction = published
    assert billions - 0.005 <= counted < billions + 0.01
    assert 228.9 / counted == pytest.approx(reduction, abs=1)


@pytest.mark.parametrize("size", [*PUBLISHED, "small"])
def test_the_size_in_the_comment_of_each_file_is_counted(size: str) -> None:
    assert_the_comment_counts("student", f"squeeze_wave_{size}")


@torch.no_grad()
def test_a_frame_of_the_mel_is_held_for_the_positions_of_its_hop() -> None:
    network = stirred(SqueezeWave(5, 16, 4, 3, 2, 2, 2, 6, kernel=1))
    waveform, mel = torch.randn(1, 6 * 16), torch.randn(1, 5, 6)
    louder = mel.clone()
    louder[:, :, 2] += 1
    moved = (network.flow(waveform, louder).z != network.flow(waveform, mel).z)[0]
    assert moved.unflatten(0, (-1, 4)).any(dim=1).nonzero().flatten().tolist() == [8, 9, 10, 11]
