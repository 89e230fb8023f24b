"""What holds for every decoder: tokens one at a time or all at once, no look ahead, maps, padding, and configs."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from ragged import LENGTHS, PREFIX, assert_padding_is_unheard, ragged
from torch import nn
from torch.nn import functional

from kd_lightning.experiment.targets import build
from kd_lightning.models.attention_recogniser import AttentionRecogniser, EncoderDecoder
from kd_lightning.models.conformer import Conformer
from kd_lightning.models.listen_attend_spell import ListenAttendSpell, Listener, Speller
from kd_lightning.models.timm_recogniser import TimmRecogniser
from kd_lightning.models.transformer_recogniser import TransformerDecoder, TransformerRecogniser

ENCODER = {"width": 16, "heads": 2, "inner": 32, "layers": 1, "kernel": 3, "channels": 4, "dropout": 0.0}
SPELLER = {"hidden": 12, "layers": 2, "embedding": 6, "attention": 8}
DECODER = {"width": 8, "heads": 2, "inner": 16, "layers": 2, "dropout": 0.0}

MAKERS: dict[str, Callable[[], EncoderDecoder]] = {
    "transformer": lambda: TransformerRecogniser(10, 5, 16, 2, 32, 2, 2, channels=4, dropout=0.0),
    "las": lambda: ListenAttendSpell(10, 5, 8, 2, 12, 2, 6),
    "conformer_speller": lambda: AttentionRecogniser(
        10, 5, partial(Conformer, **ENCODER), partial(Speller, **SPELLER)
    ),
    "listener_transformer": lambda: AttentionRecogniser(
        10, 5, partial(Listener, hidden=8, pyramids=3), partial(TransformerDecoder, **DECODER)
    ),
}


@pytest.fixture(params=MAKERS)
def network(request: pytest.FixtureRequest) -> EncoderDecoder:
    return MAKERS[request.param]().eval()


@torch.no_grad()
def test_tokens_one_at_a_time_are_those_of_teacher_forcing(network: EncoderDecoder) -> None:
    features = ragged(10)
    forced = network(features, LENGTHS, PREFIX).token_logits
    assert forced.shape == (5, 5, 5)
    memory, lengths = network.encode(features, LENGTHS)
    for place in range(5):
        one = network.score_next(memory, lengths, PREFIX[:, :place])
        torch.testing.assert_close(one, forced[:, place], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_later_tokens_change_nothing_before_them(network: EncoderDecoder) -> None:
    features = ragged(10)
    before = network(features, LENGTHS, PREFIX)
    changed = PREFIX.clone()
    changed[:, 2] = (changed[:, 2] + 1) % 5
    after = network(features, LENGTHS, changed)
    torch.testing.assert_close(after.token_logits[:, :3], before.token_logits[:, :3], rtol=0, atol=1e-6)
    torch.testing.assert_close(after.attention[:, :3], before.attention[:, :3], rtol=0, atol=1e-6)
    assert (after.token_logits[:, 3:] - before.token_logits[:, 3:]).abs().amax(dim=(1, 2)).min() > 1e-4


@torch.no_grad()
def test_attention_is_shared_among_the_valid_frames(network: EncoderDecoder) -> None:
    output = network(ragged(10), LENGTHS, PREFIX)
    frames = output.logits.shape[1]
    assert output.attention.shape == (5, 5, frames)
    torch.testing.assert_close(output.attention.sum(dim=2), torch.ones(5, 5))
    for weights, length in zip(output.attention, output.lengths, strict=True):
        assert weights[:, :length].gt(0).all()
        assert weights[:, length:].eq(0).all()


def test_padding_is_unheard(network: EncoderDecoder) -> None:
    assert_padding_is_unheard(network, 10, network.subsampling, decoder=True)


@torch.no_grad()
def test_without_a_prefix_only_the_encoder_speaks(network: EncoderDecoder) -> None:
    features = ragged(10)
    output, whole = network(features, LENGTHS), network(features, LENGTHS, PREFIX)
    assert output.token_logits is None
    assert output.attention is None
    for alone in (output, network.encoder(features, LENGTHS)):
        assert torch.equal(alone.logits, whole.logits)
        assert torch.equal(alone.lengths, whole.lengths)
    memory, _ = network.encode(features, LENGTHS)
    assert memory.shape == (*whole.logits.shape[:2], network.width)


def test_every_parameter_learns_and_the_sentence_is_remembered(network: EncoderDecoder) -> None:
    network.train()
    features, lengths = ragged(10)[[0, 1, 3], :, :20], torch.tensor([20, 20, 17])
    prefix = PREFIX[[0, 1, 3]]
    targets = functional.pad(prefix, (0, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)
    for _ in range(60):
        output = network(features, lengths, prefix)
        loss = functional.cross_entropy(output.token_logits.flatten(0, 1), targets.flatten())
        loss = loss + 1e-3 * output.logits.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert loss < 0.1
    written = torch.zeros(3, 0, dtype=torch.int64)
    with torch.no_grad():
        memory, valid = network.eval().encode(features, lengths)
        for _ in range(4):
            best = network.score_next(memory, valid, written).argmax(dim=1, keepdim=True)
            written = torch.cat((written, best), dim=1)
    assert written[:, :3].tolist() == prefix[:, :3].tolist()


def test_a_config_puts_a_decoder_on_an_encoder() -> None:
    place = "kd_lightning.models"
    node = {
        "_target_": f"{place}.attention_recogniser.AttentionRecogniser",
        "encoder": {"_target_": f"{place}.conformer.Conformer", "_partial_": True, **ENCODER},
        "decoder": {"_target_": f"{place}.listen_attend_spell.Speller", "_partial_": True, **SPELLER},
    }
    network = build(node, nn.Module, bins=10, classes=7)
    output = network(ragged(10), LENGTHS, PREFIX)
    assert output.logits.shape == (5, 16, 7)
    assert output.token_logits.shape == (5, 5, 7)


@torch.no_grad()
def test_an_image_network_of_timm_carries_a_decoder() -> None:
    pytest.importorskip("timm")
    encoder = partial(TimmRecogniser, name="mobilenetv3_small_050")
    network = AttentionRecogniser(16, 5, encoder, partial(Speller, **SPELLER)).eval()
    assert_padding_is_unheard(network, 16, 4, decoder=True)
    features = ragged(16)
    torch.testing.assert_close(
        network(features, LENGTHS, PREFIX).logits, network.encoder(features, LENGTHS).logits
    )


def test_an_encoder_alone_has_no_next_token() -> None:
    alone = EncoderDecoder(Conformer(10, 5, **ENCODER), None).eval()  # type: ignore[arg-type]
    assert alone(ragged(10), LENGTHS, PREFIX).token_logits is None
    with pytest.raises(ValueError, match="EncoderDecoder has no decoder: decode its CTC layer"):
        alone.score_next(torch.zeros(1, 3, 16), torch.tensor([3]), PREFIX[:1])
