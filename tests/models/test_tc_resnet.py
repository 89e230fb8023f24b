"""TC-ResNet: the paper's sizes, and the shapes along the way."""

import pytest
import torch

from kd_lightning.models.tc_resnet import TCResNet


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("depth", "width", "published"),
    [(8, 1.0, 66_000), (8, 1.5, 145_000), (14, 1.0, 137_000), (14, 1.5, 305_000)],
)
def test_parameters_are_within_two_percent_of_the_papers(depth: int, width: float, published: int) -> None:
    # Table 2 of Choi et al. 2019: 40 MFCC, 12 classes.
    assert parameters(TCResNet(40, 12, depth, width)) == pytest.approx(published, rel=0.02)


def test_the_default_student_has_about_nine_thousand_parameters() -> None:
    assert parameters(TCResNet(40, 21, depth=8, width=0.35)) == pytest.approx(9_000, rel=0.03)


@pytest.mark.parametrize(("depth", "shapes"), [
    (8, [(24, 51), (32, 26), (48, 13)]),
    (14, [(24, 51), (24, 51), (32, 26), (32, 26), (48, 13), (48, 13)]),
])  # fmt: skip
def test_each_widening_block_halves_the_frames(depth: int, shapes: list[tuple[int, int]]) -> None:
    network = TCResNet(40, 12, depth).eval()
    hidden = network.stem(torch.randn(2, 40, 101))
    assert hidden.shape == (2, 16, 101)
    for block, shape in zip(network.blocks, shapes, strict=True):
        hidden = block(hidden)
        assert hidden.shape == (2, *shape)


def test_strides_stay_when_rounding_makes_neighbouring_widths_equal() -> None:
    # At width 0.05 the channels are 1, 1, 2, 2: still three halvings, as in the paper.
    network = TCResNet(40, 3, depth=8, width=0.05).eval()
    assert network.blocks(network.stem(torch.randn(1, 40, 101))).shape == (1, 2, 13)


def test_logits_of_a_clip_do_not_depend_on_its_batch() -> None:
    network = TCResNet(40, 12, width=0.5).eval()
    features = torch.randn(5, 40, 101)
    together = network(features).logits
    assert together.shape == (5, 12)
    torch.testing.assert_close(together[2:3], network(features[2:3]).logits)


def test_dropout_only_acts_in_training() -> None:
    network = TCResNet(40, 12, dropout=0.5)
    features = torch.randn(4, 40, 101)
    assert not torch.equal(network(features).logits, network(features).logits)
    network.eval()
    assert torch.equal(network(features).logits, network(features).logits)


def test_unknown_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="depth to 8 or 14"):
        TCResNet(40, 12, depth=10)
    with pytest.raises(ValueError, match="set a larger width"):
        TCResNet(40, 12, width=0.01)
