"""The grammar of the embedded sentences: how many there are, what they look like, how they are drawn."""

from collections import Counter

import numpy as np
import pytest

from kd_lightning.corpora import sentences
from kd_lightning.corpora.voices import SPLITS

DEFAULT = (3000, 300, 500)


def drawn(seed: int = 0, half: int = 0) -> dict[str, list[str]]:
    said = sentences.draw(sum(DEFAULT), np.random.default_rng(seed), half)
    ends = np.cumsum((0, *DEFAULT))
    return {split: said[begin:end] for split, begin, end in zip(SPLITS, ends[:-1], ends[1:], strict=True)}


def test_no_two_sentences_have_the_same_words() -> None:
    """So sentences drawn without replacement are unseen word sequences, whatever becomes of capitals and marks."""
    said = [tuple(sentences.words(text)) for group in sentences.sentences() for text in group]
    assert len(set(said)) == len(said) == sentences.count() > 15_000
    assert {len(words) for words in said} == {3, 4, 5, 6, 7}


def test_the_vocabulary_is_about_150_words_without_homophones_of_its_numbers() -> None:
    vocabulary = sentences.vocabulary()
    assert 140 <= len(vocabulary) <= 170
    assert not {"too", "ate", "won"} & set(vocabulary)
    assert list(vocabulary) == sorted(set(vocabulary))


def test_sentences_are_written_as_people_write() -> None:
    asks = {"where", "when", "why", "what", "how", "who", "do", "did", "can", "is"}
    for group in sentences.sentences():
        for text in group:
            assert text[0].isupper()
            assert "  " not in text
            assert text.replace("?", ".").index(".") == len(text) - 1
            assert (sentences.words(text)[0] in asks) == text.endswith("?")
            repeated = {word for word, times in Counter(sentences.words(text)).items() if times > 1}
            assert repeated <= {"the", "on", "my"}


def test_a_draw_is_repeatable_and_nothing_is_drawn_twice() -> None:
    one, again, other = drawn(), drawn(), drawn(seed=1)
    assert one == again != other
    said = [text for split in one.values() for text in split]
    assert len(set(said)) == sum(DEFAULT)


@pytest.mark.parametrize("half", [0, 1])
def test_what_is_tested_was_trained(half: int) -> None:
    """Every word is said at least a dozen times in training, and splits are alike in the length of sentences."""
    splits = drawn(half=half)
    trained = Counter(word for text in splits["train"] for word in sentences.words(text))
    assert set(trained) == set(sentences.vocabulary())
    assert min(trained.values()) >= 12
    mean = {name: np.mean([len(sentences.words(text)) for text in split]) for name, split in splits.items()}
    assert all(mean["train"] == pytest.approx(value, abs=0.3) for value in mean.values())
    openings = {name: {text.split()[0] for text in split} for name, split in splits.items()}
    assert len(openings["train"] - openings["test"]) <= 3


def test_the_halves_share_nothing_and_leave_nothing_out() -> None:
    one, other = ({text for group in sentences.sentences(half) for text in group} for half in (0, 1))
    assert not one & other
    assert len(one) + len(other) == sentences.count()
    assert len(one) / sentences.count() == pytest.approx(0.5, abs=0.02)


def test_more_than_there_are_cannot_be_drawn() -> None:
    rng = np.random.default_rng(0)
    assert len(set(sentences.draw(sentences.count(), rng))) == sentences.count()
    with pytest.raises(ValueError, match=f"are {sentences.count()} different sentences"):
        sentences.draw(sentences.count() + 1, rng)


def test_numerals_stand_for_numbers_only() -> None:
    assert sentences.with_numerals("Set a timer for five minutes.") == "Set a timer for 5 minutes."
    assert sentences.with_numerals("Wake me at ten on Monday.") == "Wake me at 10 on Monday."
    assert sentences.with_numerals("Did they often listen?") == "Did they often listen?"
