"""An encoder of two tasks: what each learns of it, and that neither hears padding."""

from functools import partial

import pytest
import torch
from ragged import LENGTHS, assert_padding_is_unheard, ragged
from torch.nn.functional import cross_entropy

from kd_lightning.losses.ctc import ctc
from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.quartznet import QuartzNet
from kd_lightning.models.recurrent_recogniser import RecurrentRecogniser
from kd_lightning.models.shared_encoder import SharedEncoder

KEYWORDS = ["yes", "no", "stop"]


def gru(**sizes: int) -> SharedEncoder:
    return SharedEncoder(80, 30, list("abcdefghij"), partial(RecurrentRecogniser, cell="gru", **sizes))


@pytest.fixture
def network() -> SharedEncoder:
    return SharedEncoder(
        10, 5, KEYWORDS, partial(RecurrentRecogniser, cell="gru", hidden=6, layers=2, channels=4)
    )


def test_both_tasks_teach_the_encoder_and_each_its_own_head(network: SharedEncoder) -> None:
    features, lengths = ragged(10), LENGTHS
    tokens, counts = torch.tensor([[3, 1], [4, 0], [0, 0], [1, 2], [0, 0]]), torch.tensor([2, 1, 0, 2, 0])
    labels = torch.tensor([0, 1, 2, 0, 1])

    def sentences() -> torch.Tensor:
        output = network(features, lengths)
        return ctc(output.logits, output.lengths, tokens, counts, counts > 0).sum

    def keywords() -> torch.Tensor:
        return cross_entropy(network.classify(features, lengths).logits, labels)

    def gradients(*losses) -> dict[str, torch.Tensor]:
        network.zero_grad(set_to_none=True)
        sum(loss() for loss in losses).backward()
        return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}

    of_one, of_other, of_both = gradients(sentences), gradients(keywords), gradients(sentences, keywords)
    heads = {"encoder.ctc", "classifier", "salience"}
    for name in of_both:
        head = name.rpartition(".")[0]
        assert (name in of_one) == (head not in ("classifier", "salience"))
        assert (name in of_other) == (head != "encoder.ctc")
        if head not in heads:
            assert of_one[name].any()
            assert of_other[name].any()
            torch.testing.assert_close(of_both[name], of_one[name] + of_other[name])
    assert of_both.keys() == {name for name, _ in network.named_parameters()}


@torch.no_grad()
def test_padding_is_unheard(network: SharedEncoder) -> None:
    network.eval()
    assert_padding_is_unheard(network, 10, network.subsampling)
    features = ragged(10)
    together = network.classify(features, LENGTHS).logits
    assert together.shape == (5, 3)
    for index, length in enumerate(LENGTHS.tolist()):
        alone = network.classify(features[index : index + 1, :, :length], torch.tensor([length])).logits
        torch.testing.assert_close(alone[0], together[index], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_pooling_weighs_the_frames_by_their_salience(network: SharedEncoder) -> None:
    features, lengths = ragged(10)[:1], LENGTHS[:1]
    hidden, _ = network.eval().encode(features, lengths)
    network.salience.weight.zero_()
    pooled = network.classifier(hidden.mean(dim=1))
    torch.testing.assert_close(network.classify(features, lengths).logits, pooled)
    network.salience.weight.normal_(std=100.0)  # one frame stands out
    loudest = hidden[0, network.salience(hidden).argmax()]
    torch.testing.assert_close(network.classify(features, lengths).logits[0], network.classifier(loudest))


def test_convolutions_can_be_shared_too() -> None:
    encoder = partial(QuartzNet, channels=[8], kernels=[3], repeats=1, tail_kernel=3, head_channels=8)
    network = SharedEncoder(10, 5, KEYWORDS, encoder).eval()
    assert network(ragged(10), LENGTHS).logits.shape[2] == 5
    assert network.classify(ragged(10), LENGTHS).logits.shape == (5, 3)


@pytest.mark.parametrize("keywords", ["???", [], ["yes"]])
def test_keywords_have_to_be_named(keywords) -> None:
    with pytest.raises(ValueError, match="list the words of the clips"):
        SharedEncoder(10, 5, keywords, QuartzNet)


def test_the_comments_of_the_configs_count() -> None:
    assert round(parameters(gru(hidden=40, layers=2, channels=8)) / 1e3) == 76
    assert round(parameters(gru(hidden=96, layers=3, channels=16)) / 1e3) == 574
