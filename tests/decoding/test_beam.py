"""Prefix beam search against the sum over every path."""

import math
import sys
from collections import defaultdict
from itertools import groupby, pairwise, product
from pathlib import Path

import pytest
import torch

from kd_lightning.decoding.beam import PrefixBeam
from kd_lightning.decoding.greedy import greedy

PIECES = ["<blank>", " ", "a", "b"]
# A bigram model of letters with back-off, as lmplz writes it: "a" starts a sentence, "b" follows "a".
UNIGRAMS = {"<unk>": -2.0, "</s>": -0.7, "a": -0.5, "b": -0.9, "|": -1.2}
BACKOFF = {"<s>": -0.3, "a": -0.2, "b": -0.1, "|": -0.1}
BIGRAMS = {("<s>", "a"): -0.2, ("a", "b"): -0.1, ("b", "</s>"): -0.3}


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    lines = ["\\data\\", f"ngram 1={len(UNIGRAMS) + 1}", f"ngram 2={len(BIGRAMS)}", "", "\\1-grams:"]
    lines += [f"-99\t<s>\t{BACKOFF['<s>']}"]
    lines += [f"{score}\t{word}\t{BACKOFF.get(word, 0)}" for word, score in UNIGRAMS.items()]
    lines += [
        "",
        "\\2-grams:",
        *(f"{score}\t{a} {b}" for (a, b), score in BIGRAMS.items()),
        "",
        "\\end\\",
        "",
    ]
    path = tmp_path / "letters.arpa"
    path.write_text("\n".join(lines))
    return path


def bigram_log_probability(labelling: tuple[int, ...]) -> float:
    words = ["<s>", *("|" if PIECES[token] == " " else PIECES[token] for token in labelling), "</s>"]
    total = 0.0
    for pair in pairwise(words):
        total += BIGRAMS.get(pair, BACKOFF.get(pair[0], 0) + UNIGRAMS.get(pair[1], UNIGRAMS["<unk>"]))
    return total * math.log(10)


def every_labelling(log_probs: torch.Tensor) -> dict[tuple[int, ...], float]:
    """log p(y|x) of each labelling y: the sum over its paths, one by one, in float64."""
    table = log_probs.double().tolist()
    summed: dict[tuple[int, ...], float] = defaultdict(float)
    for path in product(range(len(table[0])), repeat=len(table)):
        labelling = tuple(token for token, _ in groupby(path) if token)
        summed[labelling] += math.exp(sum(row[token] for row, token in zip(table, path, strict=True)))
    return {labelling: math.log(total) for labelling, total in summed.items()}


@pytest.mark.parametrize("seed", range(5))
def test_a_wide_beam_finds_every_labelling_with_its_summed_probability(seed):
    logits = 2 * torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(seed))
    truth = every_labelling(logits[0].log_softmax(-1))
    (found,) = PrefixBeam(PIECES, beam=5000, n_best=len(truth), threshold=1e9)(logits, torch.tensor([5]))
    assert [tuple(one.tokens) for one in found] == sorted(truth, key=truth.__getitem__, reverse=True)
    for one in found:
        assert one.score == pytest.approx(truth[tuple(one.tokens)], abs=1e-4)
        expected = math.exp(truth[tuple(one.tokens)] / max(1, len(one.tokens)))
        assert one.confidence == pytest.approx(expected, rel=1e-3)


def test_many_weak_paths_outweigh_the_best_one():
    # Graves 2006: two frames of blank 0.6 and a 0.4. The best path is all blank, the best labelling is "a" (0.64).
    logits = torch.tensor([[[0.6, 1e-9, 0.4, 1e-9]] * 2]).log()
    lengths = torch.tensor([2])
    assert greedy(logits, lengths)[0].tokens == []
    (best,) = PrefixBeam(PIECES, beam=10)(logits, lengths)[0]
    assert best.tokens == [2]
    assert math.exp(best.score) == pytest.approx(0.64, abs=1e-4)


def test_spaces_at_the_ends_are_tokens_like_others():
    logits = torch.full((1, 3, 4), -20.0)
    for frame, token in enumerate((1, 2, 1)):
        logits[0, frame, token] = 0.0
    assert PrefixBeam(PIECES)(logits, torch.tensor([3]))[0][0].tokens == [1, 2, 1]


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_a_language_model_adds_its_weighted_log_probability(arpa, weight):
    logits = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(7))
    truth = every_labelling(logits[0].log_softmax(-1))
    joint = {one: score + weight * bigram_log_probability(one) for one, score in truth.items()}
    beam = PrefixBeam(PIECES, beam=5000, n_best=len(truth), threshold=1e9, language_model=arpa, weight=weight)
    (found,) = beam(logits, torch.tensor([5]))
    assert len(found) == len(truth)
    assert tuple(found[0].tokens) == max(joint, key=joint.__getitem__)
    for one in found:
        assert one.score == pytest.approx(joint[tuple(one.tokens)], abs=1e-3)
        # The network's own confidence: the language model has no say in it.
        expected = math.exp(truth[tuple(one.tokens)] / max(1, len(one.tokens)))
        assert one.confidence == pytest.approx(expected, rel=1e-3)


def test_an_utterance_alone_and_in_a_ragged_batch_gives_the_same_sentences():
    logits = 3 * torch.randn(3, 20, 4, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([20, 0, 11])
    beam = PrefixBeam(PIECES, beam=20, n_best=3)
    together = beam(logits, lengths)
    for row, length in enumerate(lengths.tolist()):
        (alone,) = beam(logits[row : row + 1, :length], lengths[row : row + 1])
        assert together[row] == alone
    assert together[1] == [([], 0.0, 0.0, True)]
    assert [one.score for one in together[0]] == sorted((one.score for one in together[0]), reverse=True)


def test_what_is_no_model_of_these_tokens_is_refused(arpa, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.arpa"):
        PrefixBeam(PIECES, language_model=tmp_path / "nowhere.arpa")
    (tmp_path / "bad.arpa").write_text("hello\n")
    with pytest.raises(ValueError, match=r"bad\.arpa is no ARPA or KenLM file"):
        PrefixBeam(PIECES, language_model=tmp_path / "bad.arpa")
    with pytest.raises(ValueError, match=r"letters\.arpa knows none of the tokens"):
        PrefixBeam(["<blank>", "▁the", "▁of"], language_model=arpa)


def test_without_flashlight_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "torchaudio.models.decoder", raising=False)
    monkeypatch.delitem(sys.modules, "torchaudio.models.decoder._ctc_decoder", raising=False)
    monkeypatch.setitem(sys.modules, "flashlight.lib.text.decoder", None)
    with pytest.raises(ValueError, match=r"kd_lightning\[recognition\]"):
        PrefixBeam(PIECES)
