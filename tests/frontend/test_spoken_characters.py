"""Characters to be read aloud keep the marks that recognition drops."""

import pytest

from kd_lightning.frontend.spoken_characters import SpokenCharacters, spoken_form
from kd_lightning.frontend.text import normalise

TEXTS = ("“Well, who's there?” he said; nobody -- nobody at all!", "A quick brown fox. It jumps over 3 dogs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXTS[0], "well, who's there? he said; nobody— nobody at all!"),
        ("He paused...  Then: go", "he paused… then: go"),
        ("IŞIK, İKİ", "ışık, iki"),  # noqa: RUF001
        ("...", ""),
    ],
)
def test_words_are_normalised_and_marks_stay(text: str, said: str) -> None:
    language = "tr" if "İ" in text else "en"
    assert spoken_form(text, language) == said
    assert normalise(said, language) == normalise(text, language)


def test_a_sentence_is_read_back_from_its_tokens() -> None:
    tokens = SpokenCharacters.of(TEXTS, "en")
    spelt = tokens.encode(TEXTS[0])
    assert tokens.pieces[:3] == ["<blank>", "_", " "]
    assert spelt[0] == spelt[-1] == 1
    assert min(spelt) > 0
    assert tokens.decode(spelt) == spoken_form(TEXTS[0], "en")
    assert SpokenCharacters("en", tokens.pieces).encode(TEXTS[0]) == spelt


def test_what_cannot_be_said_is_named() -> None:
    tokens = SpokenCharacters.of(TEXTS, "en")
    with pytest.raises(ValueError, match=r"cannot say '3', 'é' in 'Café at 3!'"):
        tokens.encode("Café at 3!")
    assert tokens.unspellable("Café at 3, or so") == ["café", "3,"]
    with pytest.raises(ValueError, match=r"there is nothing to say in '\?!'"):
        tokens.encode("?!")


def test_a_mark_that_was_never_learnt_is_left_out() -> None:
    tokens = SpokenCharacters.of(["one two"], "en")
    assert tokens.encode("One, two!") == tokens.encode("one two")


def test_texts_without_letters_and_other_tokens_are_refused() -> None:
    with pytest.raises(ValueError, match="hold no letter"):
        SpokenCharacters.of(["1, 2", ""], "en")
    with pytest.raises(ValueError, match="begin with '<blank>' and '_'"):
        SpokenCharacters("en", ["<blank>", "a"])
