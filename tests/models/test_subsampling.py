"""Subsampling: a quarter of the frames, of any number of them, and nothing of the padding."""

import pytest
import torch
from ragged import LENGTHS, ragged
from torch.nn import functional

from kd_lightning.models.subsampling import ConvolutionalSubsampling


@pytest.mark.parametrize("frames", range(1, 10))
def test_frames_are_divided_by_four_and_rounded_up(frames: int) -> None:
    stem = ConvolutionalSubsampling(10, 6, 4)
    hidden, lengths = stem(torch.zeros(2, 10, frames), torch.tensor([frames, 1]))
    assert hidden.shape == (2, -(-frames // 4), 6)
    assert lengths.tolist() == [hidden.shape[1], 1]


@torch.no_grad()
@pytest.mark.parametrize("bins", [1, 13, 80])
def test_an_utterance_is_heard_as_it_is_alone(bins: int) -> None:
    stem, features = ConvolutionalSubsampling(bins, 6, 4), ragged(bins, silence=100.0)
    together, frames = stem(features, LENGTHS)
    for index, length in enumerate(LENGTHS.tolist()):
        alone, _ = stem(features[index : index + 1, :, :length], torch.tensor([length]))
        torch.testing.assert_close(together[index, : frames[index]], alone[0], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_a_frame_hears_those_at_most_three_before_and_after_its_four() -> None:
    # 3 x 3 twice: 1 + 2 + 2 * 2 frames around 4 t.
    stem, features = ConvolutionalSubsampling(8, 6, 4), torch.randn(1, 8, 40)
    heard, length = stem(features, torch.tensor([40]))[0], torch.tensor([40])
    for frame in range(40):
        changed = features.clone()
        changed[:, :, frame] += 1
        moved = (stem(changed, length)[0] - heard).abs().amax(dim=(0, 2)) > 1e-7
        assert moved.nonzero().flatten().tolist() == [t for t in range(10) if abs(frame - 4 * t) <= 3]


def test_it_is_two_strided_convolutions_of_torch() -> None:
    stem, features = ConvolutionalSubsampling(9, 6, 4), torch.randn(2, 9, 21)
    hidden = features[:, None]
    for convolution in stem.convolutions:
        hidden = functional.relu(functional.conv2d(hidden, convolution.weight, convolution.bias, 2, 1))
    expected = stem.projection(hidden.permute(0, 3, 1, 2).reshape(2, 6, -1))
    torch.testing.assert_close(stem(features, torch.tensor([21, 21]))[0], expected)
