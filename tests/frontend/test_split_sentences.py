"""Clauses and sentences: the text comes back whole, and is cut where a reader pauses."""

import random

import pytest

from kd_lightning.frontend.sentences import clauses, split_sentences

TEXT = (
    "“Well,” he said, “is it 3:30 yet?” Mr. J. Smith of the U.S. Army (a friend...) paid $10.50 - or more; "
    "nobody knew! It was I. So she left—at last: home.\nThat is all"
)


def test_a_text_is_its_clauses() -> None:
    assert "".join(clause.words + clause.end for clause in clauses(TEXT)) == TEXT


def test_clauses_end_at_marks_and_not_inside_numbers_and_abbreviations() -> None:
    said = [(clause.words.strip(), "".join(clause.marks)) for clause in clauses(TEXT)]
    assert said == [
        ("“Well", ","),
        ("he said", ","),
        ("“is it 3:30 yet", "?"),
        ("Mr. J. Smith of the U.S. Army (a friend", "…"),
        ("paid $10.50", "—"),
        ("or more", ";"),
        ("nobody knew", "!"),
        ("It was I", "."),
        ("So she left", "—"),
        ("at last", ":"),
        ("home", "."),
        ("That is all", ""),
    ]


def test_sentences_are_cut_after_full_stops_and_their_like() -> None:
    assert split_sentences(TEXT, 100) == [
        "“Well,” he said, “is it 3:30 yet?”",
        "Mr. J. Smith of the U.S. Army (a friend...)",
        "paid $10.50 - or more; nobody knew!",
        "It was I.",
        "So she left—at last: home.",
        "That is all",
    ]


def test_a_sentence_that_is_too_long_is_cut_at_its_clauses_or_else_between_words() -> None:
    text = "one two, three four, five six, seven eight nine ten eleven."
    assert split_sentences(text, 5) == [
        "one two, three four,",
        "five six,",
        "seven eight nine ten eleven.",
    ]
    assert split_sentences(text, 3) == [
        "one two,",
        "three four,",
        "five six,",
        "seven eight nine",
        "ten eleven.",
    ]


@pytest.mark.parametrize("most_words", [1, 7, 40])
def test_a_text_of_two_thousand_words_comes_back_in_short_parts(most_words: int) -> None:
    draw = random.Random(0)
    words = [
        draw.choice(["so", "she", "went", "Mr.", "3.5"])
        + draw.choice(["", "", "", "", ",", ".", "...", "?!"])
        for _ in range(2000)
    ]
    parts = split_sentences("  ".join(words), most_words)
    assert " ".join(parts) == " ".join(words)
    assert all(0 < len(part.split()) <= most_words for part in parts)
    assert len(split_sentences(" ".join(["word"] * 2000), most_words)) == -(-2000 // most_words)


def test_marks_alone_stay_with_the_sentence_before_them() -> None:
    assert split_sentences("Stop . . . Now go.", 10) == ["Stop . . .", "Now go."]
    assert split_sentences("... Well.", 10) == ["... Well."]
    # Also where the sentence is too long, and would be cut just there.
    assert split_sentences("one two three four !", 2) == ["one two", "three four !"]
    assert split_sentences("... one two three", 2) == ["... one two", "three"]
    assert split_sentences("... one, two three", 1) == ["... one,", "two", "three"]


@pytest.mark.parametrize("text", ["", " \n", "...", "—"])
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="nothing to say"):
        split_sentences(text, 10)


def test_a_part_has_at_least_a_word() -> None:
    with pytest.raises(ValueError, match="most_words is 0"):
        split_sentences("Go.", 0)
