"""Word and character errors against jiwer, intervals against loops over drawn speakers."""

import random

import jiwer
import numpy as np
import pytest
import torch

from kd_lightning.metrics.word_errors import (
    Edits,
    WordErrors,
    align,
    character_edits,
    rate_difference,
    rate_gap_recovered,
    rate_interval,
    word_edits,
)

VOCABULARY = ["the", "cat", "sat", "on", "a", "mat", "and", "then", "it", "ran", "off"]


def garbled(text: str, share: float, draw: random.Random) -> str:
    """A text with words left out, replaced and added."""
    words = []
    for word in text.split():
        if (change := draw.random()) < share:
            words += [[], [draw.choice(VOCABULARY)], [word, draw.choice(VOCABULARY)]][int(3 * change / share)]
        else:
            words.append(word)
    return " ".join(words)


@pytest.fixture
def recognised() -> tuple[list[str], list[str]]:
    draw = random.Random(0)
    references = [" ".join(draw.choices(VOCABULARY, k=draw.randint(1, 9))) for _ in range(150)]
    return references, [garbled(text, 0.3, draw) for text in references]


def test_summed_counts_and_rates_are_those_of_jiwer(recognised):
    for edits, oracle in (
        (word_edits(*recognised), jiwer.process_words(*recognised)),
        (character_edits(*recognised), jiwer.process_characters(*recognised)),
    ):
        total = sum(edits, Edits())
        assert total == (oracle.substitutions, oracle.deletions, oracle.insertions, oracle.hits)
        assert total.rate == pytest.approx(oracle.wer if hasattr(oracle, "wer") else oracle.cer, rel=1e-12)
    for edits, reference, output in zip(word_edits(*recognised), *recognised, strict=True):
        assert edits.rate == pytest.approx(jiwer.wer(reference, output))
        assert edits.reference == len(reference.split())


def test_an_empty_reference_counts_insertions_and_adds_no_word():
    assert word_edits(["", "", "a b"], ["a b", "", ""]) == [(0, 0, 2, 0), (0, 0, 0, 0), (0, 2, 0, 0)]
    assert (
        sum(word_edits(["", "a b"], ["c", "a b"]), Edits()).rate
        == 0.5
        == jiwer.wer(["", "a b"], ["c", "a b"])
    )
    assert Edits(insertions=3).rate == 3.0 == jiwer.wer([""], ["a b c"])
    assert Edits().rate == 0.0


def test_words_of_chinese_are_characters_and_its_characters_have_no_spaces_between():
    metric = WordErrors("zh-CN")
    metric.update(["你好。世界。"], ["你好是界"])
    rates = metric.compute()
    assert float(rates["wer"]) == float(rates["cer"]) == 0.25


def test_the_metric_scores_the_scoring_form_and_sums_over_ragged_batches(recognised):
    references, outputs = recognised
    metric = WordErrors("en")
    for start in range(0, 150, 32):
        shouted = [f"{text.upper()} !" for text in references[start : start + 32]]
        metric.update(shouted, outputs[start : start + 32])
    metric.update([], [])
    rates = {key: float(value) for key, value in metric.compute().items()}
    oracle = jiwer.process_words(references, outputs)
    length = oracle.hits + oracle.substitutions + oracle.deletions
    parts = {key: getattr(oracle, key) / length for key in ("substitutions", "deletions", "insertions")}
    assert rates == pytest.approx({"wer": oracle.wer, "cer": jiwer.cer(references, outputs), **parts})


def score_a_share(rank: int, folder: str, references: list[str], outputs: list[str]) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    metric = WordErrors("en")
    share = slice(0, 110) if rank == 0 else slice(110, None)  # ranks of unequal size
    metric.update(references[share], outputs[share])
    torch.save({key: float(value) for key, value in metric.compute().items()}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.ddp
def test_two_ranks_give_the_rates_of_jiwer_on_all_texts(recognised, tmp_path):
    torch.multiprocessing.spawn(score_a_share, (str(tmp_path), *recognised), nprocs=2)
    for rank in range(2):
        rates = torch.load(tmp_path / f"{rank}.pt")
        assert rates["wer"] == pytest.approx(jiwer.wer(*recognised))
        assert rates["cer"] == pytest.approx(jiwer.cer(*recognised))


def speakers_of(count: int) -> np.ndarray:
    return np.random.default_rng(0).choice(["a", "b", "c", "d", "e"], size=count, p=[0.4, 0.3, 0.1, 0.1, 0.1])


def test_a_resampled_rate_is_the_summed_errors_over_the_summed_words_of_the_drawn_speakers(recognised):
    edits, speakers = word_edits(*recognised), speakers_of(150)
    estimate = rate_interval(edits, speakers, level=0.5, resamples=999, seed=3)
    drawn = np.random.default_rng(3).integers(0, 5, size=(999, 5))
    rates = []
    for draw in drawn:
        of_draw = [edits[i] for one in draw for i in np.flatnonzero(speakers == "abcde"[one])]
        rates.append(sum(of_draw, Edits()).rate)
    assert estimate.value == pytest.approx(jiwer.wer(*recognised))
    assert min(abs(np.array(rates) - estimate.low)) < 1e-12
    assert min(abs(np.array(rates) - estimate.high)) < 1e-12
    assert estimate.low < np.median(rates) < estimate.high


def test_the_interval_of_a_rate_covers_it_as_often_as_it_says():
    rng, covered, trials = np.random.default_rng(1), 0, 300
    speakers = np.repeat(np.arange(15), 10).astype(str)
    for trial in range(trials):
        lengths = rng.integers(1, 12, 150)
        errors = rng.binomial(lengths, np.repeat(rng.beta(4, 16, 15), 10))
        edits = [Edits(substitutions=int(e), hits=int(n - e)) for e, n in zip(errors, lengths, strict=True)]
        estimate = rate_interval(edits, speakers, resamples=600, seed=trial)
        covered += estimate.low <= 0.2 <= estimate.high
    # Three standard errors of a proportion of 300 around 95 %, and a point for skew.
    assert covered / trials == pytest.approx(0.95, abs=0.038 + 0.01)


def test_the_paired_difference_is_that_of_the_rates_and_narrower_than_either(recognised):
    references, outputs = recognised
    draw = random.Random(5)
    worse = word_edits(references, [garbled(text, 0.05, draw) for text in outputs])
    better, speakers = word_edits(references, outputs), np.arange(150).astype(str)
    difference = rate_difference(better, worse, speakers)
    assert difference.value == pytest.approx(sum(better, Edits()).rate - sum(worse, Edits()).rate)
    assert difference.high < 0
    alone = rate_interval(better, speakers)
    assert difference.high - difference.low < 0.7 * (alone.high - alone.low)
    assert rate_difference(better, better, speakers) == (0.0, 0.0, 0.0)


def test_the_gap_recovered_is_the_ratio_of_the_differences():
    draw = random.Random(1)
    references = [" ".join(draw.choices(VOCABULARY, k=6)) for _ in range(300)]
    teacher, student, baseline = (
        word_edits(references, [garbled(text, share, draw) for text in references])
        for share in (0.05, 0.2, 0.35)
    )
    speakers = np.repeat(np.arange(30), 10).astype(str)
    rates = [sum(edits, Edits()).rate for edits in (teacher, student, baseline)]
    share = rate_gap_recovered(student, baseline, teacher, speakers)
    assert share is not None
    assert share.value == pytest.approx((rates[2] - rates[1]) / (rates[2] - rates[0]))
    assert share.low < share.value < share.high
    assert rate_gap_recovered(teacher, baseline, teacher, speakers) == pytest.approx((1.0, 1.0, 1.0))
    assert rate_gap_recovered(student, teacher, baseline, speakers) is None


def test_one_utterance_has_a_rate_and_no_interval():
    estimate = rate_interval([Edits(1, 0, 0, 3)], ["one"])
    assert estimate.value == 0.25
    assert np.isnan(estimate[1:]).all()


def test_several_outputs_stand_beside_one_reference():
    slots = align(
        "the cat sat on it", ["the cat sat on it", "a the bad cat sat it", "oh no the cat sits on it yes"]
    )
    assert slots == [
        (None, (None, "a", "oh")),
        (None, (None, None, "no")),
        ("the", ("the", "the", "the")),
        (None, (None, "bad", None)),
        ("cat", ("cat", "cat", "cat")),
        ("sat", ("sat", "sat", "sits")),
        ("on", ("on", None, "on")),
        ("it", ("it", "it", "it")),
        (None, (None, None, "yes")),
    ]
    assert align("", ["", "a"]) == [(None, (None, "a"))]


def test_an_alignment_holds_every_word_in_order_and_as_many_errors_as_jiwer_counts():
    draw = random.Random(2)
    for _ in range(60):
        reference = " ".join(draw.choices(VOCABULARY, k=draw.randint(0, 8)))
        outputs = [garbled(reference, 0.5, draw) for _ in range(3)]
        slots = align(reference, outputs)
        assert [slot.reference for slot in slots if slot.reference is not None] == reference.split()
        for number, output in enumerate(outputs):
            column = [slot.outputs[number] for slot in slots]
            assert [word for word in column if word is not None] == output.split()
            errors = sum(slot.reference != word for slot, word in zip(slots, column, strict=True))
            assert errors == word_edits([reference], [output])[0].errors


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="2 references and 1 outputs"):
        word_edits(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="same utterances"):
        rate_difference([Edits(hits=2)], [Edits(hits=3)], ["a"])
    with pytest.raises(ValueError, match="same utterances"):
        rate_gap_recovered([Edits(hits=2)], [Edits(hits=2)], [Edits(hits=2), Edits()], ["a"])
    with pytest.raises(ValueError, match="one cluster"):
        rate_interval([Edits(hits=2)], ["a", "b"])
