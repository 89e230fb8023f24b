"""Transformers: torch's own layers, positions, counts, padding, and the exported graph of the encoder."""

import math
from pathlib import Path

import pytest
import torch
from ragged import LENGTHS, assert_padding_is_unheard, ragged
from torch import nn

from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.transformer_recogniser import (
    DecoderLayer,
    TransformerEncoder,
    TransformerRecogniser,
    with_positions,
)

TINY = {"width": 16, "heads": 2, "inner": 32, "layers": 2, "channels": 4, "dropout": 0.0}


def tiny(**settings: object) -> TransformerEncoder:
    return TransformerEncoder(10, 5, **(TINY | settings))  # type: ignore[arg-type]


def test_positions_are_the_papers_in_float64() -> None:
    found = with_positions(torch.ones(1, 300, 12))[0]
    for place in (0, 1, 17, 299):
        for index in range(6):
            angle = place / 10000 ** (2 * index / 12)
            assert found[place, 2 * index] == pytest.approx(math.sqrt(12) + math.sin(angle), abs=1e-4)
            assert found[place, 2 * index + 1] == pytest.approx(math.sqrt(12) + math.cos(angle), abs=1e-4)


@torch.no_grad()
def test_a_decoder_layer_is_torchs_that_normalises_first() -> None:
    ours = DecoderLayer(16, 16, 4, 32, dropout=0.0)
    theirs = nn.TransformerDecoderLayer(16, 4, 32, dropout=0.0, batch_first=True, norm_first=True)
    for parameter in ours.parameters():
        parameter.normal_(std=0.3)
    pairs = {
        ours.token_norm: theirs.norm1,
        ours.token_attention: theirs.self_attn,
        ours.frame_norm: theirs.norm2,
        ours.frame_attention: theirs.multihead_attn,
        ours.perceptron[0]: theirs.norm3,
        ours.perceptron[1]: theirs.linear1,
        ours.perceptron[4]: theirs.linear2,
    }
    for mine, other in pairs.items():
        other.load_state_dict(mine.state_dict())
    hidden, memory = torch.randn(3, 6, 16), torch.randn(3, 9, 16)
    later = torch.ones(6, 6, dtype=torch.bool).triu(1)
    padding = torch.arange(9) >= torch.tensor([[9], [4], [1]])
    found, weights = ours(hidden, later, memory, padding)
    expected = theirs(hidden, memory, tgt_mask=later, memory_key_padding_mask=padding)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 6))


@torch.no_grad()
def test_an_encoder_is_torchs_stack_on_the_shortened_frames() -> None:
    encoder = tiny().eval()
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(16), enable_nested_tensor=False).eval()
    theirs.layers.load_state_dict(encoder.layers.state_dict())
    theirs.norm.load_state_dict(encoder.norm.state_dict())
    features, lengths = torch.randn(2, 10, 33), torch.tensor([33, 33])
    hidden, _ = encoder.stem(features, lengths)
    expected = theirs(with_positions(hidden))
    torch.testing.assert_close(encoder.encode(features, lengths)[0], expected, rtol=1e-4, atol=1e-5)


def test_the_encoder_does_not_hear_padding() -> None:
    assert_padding_is_unheard(tiny().eval(), 10, 4)


@torch.no_grad()
def test_evaluation_is_training_without_dropout() -> None:
    # In evaluation, torch may take other kernels.
    encoder, features = tiny(intermediate_layers=[1]), ragged(10)
    trained, evaluated = encoder.train()(features, LENGTHS), encoder.eval()(features, LENGTHS)
    for index, length in enumerate(trained.lengths.tolist()):
        torch.testing.assert_close(
            trained.logits[index, :length], evaluated.logits[index, :length], rtol=1e-4, atol=1e-5
        )
    assert len(trained.intermediate) == 1
    lower = tiny(layers=1).eval()
    lower.load_state_dict(encoder.state_dict(), strict=False)
    torch.testing.assert_close(
        trained.intermediate[0][0], lower(features, LENGTHS).logits[0], rtol=1e-4, atol=1e-5
    )


def test_only_positions_tell_the_order_of_frames() -> None:
    encoder = tiny().eval()
    padding = torch.zeros(1, 8, dtype=torch.bool)
    hidden, order = torch.randn(1, 8, 16), torch.randperm(8)
    for layer in encoder.layers:
        torch.testing.assert_close(layer(hidden[:, order], padding), layer(hidden, padding)[:, order])
    placed, shuffled = with_positions(hidden), with_positions(hidden[:, order])
    assert (placed[:, order] - shuffled).abs().max() > 0.1


def test_parameters_are_those_of_the_paper_s_layers() -> None:
    # Vaswani et al. 2017: 4 projections an attention, 2 a feed-forward module, with biases, and their norms.
    width, inner, tokens, bins = 256, 2048, 1000, 80
    attention = 4 * (width**2 + width)
    perceptron = 2 * width * inner + inner + width
    norm = 2 * width
    stem = 10 * width + (9 * width + 1) * width + (bins // 4 * width + 1) * width
    head = (width + 1) * tokens
    encoder = stem + 12 * (attention + perceptron + 2 * norm) + norm + head
    decoder = tokens * width + 6 * (2 * attention + perceptron + 3 * norm) + norm + head
    with torch.device("meta"):
        assert parameters(TransformerRecogniser(bins, tokens, decoder_layers=0)) == encoder
        assert parameters(TransformerRecogniser(bins, tokens)) == encoder + decoder == 27_928_016


@pytest.mark.slow  # 15 seconds
def test_onnx_runtime_agrees_for_any_number_of_frames(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network, path = tiny().eval(), tmp_path / "network.onnx"
    torch.onnx.export(
        network,
        (torch.zeros(1, 10, 40), torch.tensor([40])),
        path,
        dynamo=True,
        input_names=["features", "lengths"],
        output_names=["logits", "frames"],
        dynamic_shapes={"features": {2: "frames"}, "lengths": None},
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for frames in (40, 101, 7):
        features, lengths = torch.randn(1, 10, frames), torch.tensor([frames])
        logits, count = session.run(None, {"features": features.numpy(), "lengths": lengths.numpy()})
        with torch.no_grad():
            expected = network(features, lengths)
        torch.testing.assert_close(torch.from_numpy(logits), expected.logits, rtol=0, atol=1e-4)
        assert count.tolist() == expected.lengths.tolist()
