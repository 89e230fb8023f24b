"""A language model learns the source of its sentences as far as anybody can, and hears nothing."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from kd_lightning.corpora import sentences
from kd_lightning.frontend.text import normalise
from kd_lightning.frontend.tokens import Characters
from kd_lightning.losses.tokens import next_token_cross_entropy
from kd_lightning.metrics.perplexity import TokenPerplexity
from kd_lightning.models.language_model import LanguageModel


def trained(classes: int, width: int, said: list[Tensor], steps: int, batch: int = 64) -> LanguageModel:
    network = LanguageModel(classes, width)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(steps):
        tokens, lengths = padded([said[index] for index in torch.randint(len(said), (batch,))])
        loss = next_token_cross_entropy(network.score(tokens), tokens, lengths, lengths >= 0)
        optimizer.zero_grad()
        (loss.sum / loss.count).backward()
        optimizer.step()
    return network.eval()


@torch.no_grad()
def perplexity(network: LanguageModel, said: list[Tensor]) -> float:
    metric = TokenPerplexity()
    tokens, lengths = padded(said)
    metric.update(network.score(tokens), tokens, lengths)
    return float(metric.compute())


def padded(said: list[Tensor]) -> tuple[Tensor, Tensor]:
    return pad_sequence(said, batch_first=True), torch.tensor([len(one) for one in said])


def test_it_approaches_the_entropy_of_a_markov_chain() -> None:
    # From each token to the next; 0 starts and ends the sentence, which makes the chain stationary.
    chain = np.array([[0.0, 0.8, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.2, 0.1, 0.1, 0.6], [0.5, 0.3, 0.1, 0.1]])
    share = np.linalg.matrix_power(chain, 1000)[0]
    entropy = -float((share[:, None] * chain * np.log(chain, where=chain > 0, out=np.zeros((4, 4)))).sum())
    of_tokens = -float((share * np.log(share)).sum())
    rng = np.random.default_rng(0)

    def sentence() -> Tensor:
        tokens: list[int] = []
        while True:
            token = int(rng.choice(4, p=chain[tokens[-1] if tokens else 0]))
            if token == 0:
                return torch.tensor(tokens)
            tokens.append(token)

    network = trained(4, 16, [sentence() for _ in range(2000)], 250)
    found = perplexity(network, [sentence() for _ in range(1000)])
    assert found == pytest.approx(math.exp(entropy), rel=0.03)
    assert found < 0.9 * math.exp(of_tokens)


def test_it_learns_the_spelling_of_the_embedded_corpus() -> None:
    said = [normalise(text, "en") for text in sentences.draw(1200, np.random.default_rng(0), half=0)]
    training, held_out = said[:1000], said[1000:]
    tokens = Characters.of(training)
    network = trained(
        tokens.size, 48, [torch.tensor(tokens.encode(text)) for text in training], 120, batch=32
    )
    found = perplexity(network, [torch.tensor(tokens.encode(text)) for text in held_out])

    counts = Counter(piece for text in training for piece in [*text, "end"])
    spoken = [piece for text in held_out for piece in [*text, "end"]]
    unigram = math.exp(-sum(math.log(counts[piece] / counts.total()) for piece in spoken) / len(spoken))
    # Nobody can know which sentence of the grammar comes next.
    least = math.exp(math.log(sentences.count(0)) / (len(spoken) / len(held_out)))
    assert least < found < unigram / 3


@pytest.fixture
def network() -> LanguageModel:
    return LanguageModel(6, 8, layers=2).eval()


PREFIX = torch.tensor([[3, 1, 2, 2], [4, 4, 0, 0]])


@torch.no_grad()
def test_it_hears_nothing(network: LanguageModel) -> None:
    lengths = torch.tensor([7, 5])
    quiet, loud = (network(level * torch.ones(2, 10, 7), lengths, PREFIX) for level in (0.0, 1.0))
    assert torch.equal(quiet.token_logits, loud.token_logits)
    assert quiet.logits is None
    assert quiet.lengths.tolist() == [0, 0]
    assert network(torch.ones(2, 10, 7), lengths).token_logits is None
    with pytest.raises(ValueError, match=r"hears nothing.*transfer=attention_language_model"):
        network.encode(torch.ones(2, 10, 7), lengths)


@torch.no_grad()
def test_later_tokens_change_nothing_before_them(network: LanguageModel) -> None:
    scores = network.score(PREFIX)
    assert scores.shape == (2, 5, 6)
    for place in range(5):
        alone = network.score_next(torch.zeros(2, 0, 0), torch.zeros(2).long(), PREFIX[:, :place])
        torch.testing.assert_close(alone, scores[:, place])
