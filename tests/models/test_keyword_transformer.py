"""Keyword Transformer: the paper's sizes, post-norm blocks, positions, and the distillation token."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from kd_lightning.frontend.features import MFCC
from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.keyword_transformer import KeywordTransformer, TransformerBlock

SIZES = [(64, 1, 256, 607_000), (128, 2, 512, 2_394_000), (192, 3, 768, 5_361_000)]


def small(distillation: bool = False, **arguments: int) -> KeywordTransformer:
    sizes = {"width": 16, "heads": 2, "inner": 32, "depth": 2, "frames": 30} | arguments
    return KeywordTransformer(10, 4, distillation=distillation, **sizes)


def moved(network: KeywordTransformer) -> KeywordTransformer:
    """Weights far from the initial ones, which are so small that all clips look alike."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.5)
    return network


@pytest.mark.parametrize(("width", "heads", "inner", "published"), SIZES)
def test_parameters_are_within_two_percent_of_the_papers(
    width: int, heads: int, inner: int, published: int
) -> None:
    # Table 1 of Berg et al. 2021: 40 MFCC of 98 frames, 35 classes.
    network = KeywordTransformer(40, 35, width, heads, inner, frames=98)
    assert parameters(network) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize(
    ("size", "summary"), zip(SIZES, (607_308, 2_394_252, 5_360_844), strict=True), ids=("1", "2", "3")
)
def test_but_for_the_norm_of_the_features_the_paper_s_code_counts_the_same(
    size: tuple[int, int, int, int], summary: int
) -> None:
    # The model summaries beside the paper's weights, for 12 classes.
    network = KeywordTransformer(40, 12, *size[:3], frames=98)
    assert parameters(network) - parameters(network.norm) == summary


def test_a_distillation_token_is_a_token_its_position_and_a_head() -> None:
    more = parameters(small(distillation=True)) - parameters(small())
    assert more == 16 + 16 + (16 * 4 + 4)


@torch.no_grad()
def test_a_block_is_torchs_post_norm_encoder_layer() -> None:
    block = TransformerBlock(width=16, heads=4, inner=32, dropout=0.0)
    theirs = nn.TransformerEncoderLayer(
        16, 4, 32, dropout=0.0, activation="gelu", batch_first=True, layer_norm_eps=1e-6
    )
    for parameter in block.parameters():
        parameter.normal_()
    pairs = {
        block.attention.output: theirs.self_attn.out_proj,
        block.attention_norm: theirs.norm1,
        block.perceptron[0]: theirs.linear1,
        block.perceptron[2]: theirs.linear2,
        block.perceptron_norm: theirs.norm2,
    }
    for ours, other in pairs.items():
        other.load_state_dict(ours.state_dict())
    theirs.self_attn.in_proj_weight.copy_(block.attention.projections.weight)
    theirs.self_attn.in_proj_bias.zero_()
    hidden = torch.randn(3, 9, 16)
    torch.testing.assert_close(block(hidden), theirs(hidden), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_only_positions_tell_the_order_of_frames() -> None:
    network, features = moved(small()).eval(), torch.randn(2, 10, 30)
    shuffled = features[:, :, torch.randperm(30)]
    assert (network(features).logits - network(shuffled).logits).abs().max() > 1e-2
    network.positions.zero_()
    torch.testing.assert_close(network(features).logits, network(shuffled).logits, rtol=0, atol=1e-4)


def test_training_shows_both_heads_and_each_learns_alone() -> None:
    network = small(distillation=True)
    output = network(torch.randn(3, 10, 30))
    assert output.logits.shape == output.distillation_logits.shape == (3, 4)
    output.distillation_logits[:, 0].sum().backward()
    assert network.head.weight.grad is None
    assert network.distillation_head.weight.grad.abs().sum() > 0
    assert network.tokens.grad.abs().sum(dim=1).min() > 0  # a token also hears the other one


@torch.no_grad()
def test_evaluation_averages_the_logits_of_both_heads() -> None:
    network, features = moved(small(distillation=True)), torch.randn(3, 10, 30)
    network.norm.eval()  # the only layer whose mode changes what the heads say
    trained = network(features)
    evaluated = network.eval()(features)
    assert evaluated.distillation_logits is None
    torch.testing.assert_close(evaluated.logits, (trained.logits + trained.distillation_logits) / 2)
    assert (trained.logits - trained.distillation_logits).abs().max() > 1e-2


@pytest.mark.parametrize("distillation", [False, True])
def test_logits_of_a_clip_do_not_depend_on_its_batch(distillation: bool) -> None:
    network, features = moved(small(distillation)).eval(), torch.randn(4, 10, 30)
    together = network(features).logits
    assert together.std(dim=0).min() > 1e-2
    torch.testing.assert_close(together[1:2], network(features[1:2]).logits, rtol=0, atol=1e-5)


def test_it_tells_clips_apart_after_a_few_steps() -> None:
    features, labels = torch.randn(8, 10, 30), torch.arange(8) % 4
    network = small(distillation=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(40):
        output = network(features)
        loss = functional.cross_entropy(output.logits, labels)
        loss = loss + functional.cross_entropy(output.distillation_logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


def test_dropout_only_acts_in_training() -> None:
    network, features = KeywordTransformer(10, 4, depth=1, frames=30, dropout=0.5), torch.randn(4, 10, 30)
    assert not torch.equal(network(features).logits, network(features).logits)
    network.eval()
    assert torch.equal(network(features).logits, network(features).logits)


def test_a_second_of_the_frontend_has_as_many_frames_as_positions() -> None:
    frontend = MFCC()
    network = KeywordTransformer(frontend.bins, 4, depth=1).eval()
    assert network(frontend(torch.randn(2, frontend.sample_rate))).logits.shape == (2, 4)


def test_other_frames_and_widths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"30 frames and was given 31: set network\.frames"):
        small()(torch.randn(2, 10, 31))
    with pytest.raises(ValueError, match="width 64 with 3 heads"):
        KeywordTransformer(40, 12, heads=3)


def test_onnx_runtime_agrees_for_any_batch(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = moved(small(distillation=True, depth=1))
    network(10 * torch.randn(16, 10, 30))  # statistics other than the initial ones
    network.eval()
    torch.onnx.export(
        network,
        (torch.zeros(2, 10, 30),),
        tmp_path / "network.onnx",
        dynamo=True,
        input_names=["features"],
        output_names=["logits"],
        dynamic_shapes={"features": {0: "batch"}},
        verbose=False,
    )
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        features = torch.randn(count, 10, 30)
        (logits,) = session.run(["logits"], {"features": features.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(logits), network(features).logits, rtol=0, atol=1e-4)
