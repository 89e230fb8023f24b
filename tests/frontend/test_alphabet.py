"""Letters in somebody else's order: what they spell, what is only read, and scripts without spaces."""

from kd_lightning.frontend.alphabet import Alphabet
from kd_lightning.frontend.tokens import Characters, decoder_of


def test_letters_are_numbered_as_given_and_read_again() -> None:
    pieces = ["<blank>", "e", "|x", " ", "t"]
    alphabet = Alphabet(pieces)
    assert alphabet.pieces == pieces
    assert alphabet.encode("tee te") == [4, 1, 1, 3, 4, 1]
    assert alphabet.decode([4, 1, 2]) == decoder_of(pieces)([4, 1, 2]) == "te|x"


def test_an_alphabet_of_this_project_spells_as_it_did() -> None:
    characters = Characters("the cat")
    text = "teach the cat"
    assert Alphabet(characters.pieces).encode(text) == characters.encode(text)


def test_words_with_other_letters_are_left_out() -> None:
    alphabet = Alphabet(["<blank>", " ", "a", "b"])
    assert alphabet.unspellable("ab äb a") == ["äb"]
    assert alphabet.encode("ab äb a") == alphabet.encode("ab a") == [2, 3, 1, 2]


def test_where_nothing_separates_words_nothing_is_written_between_them() -> None:
    alphabet = Alphabet(["<blank>", "漢", "字"])
    assert alphabet.encode("漢字 字") == [1, 2, 2]
    assert alphabet.encode("字 x 漢") == [2, 1]
    assert alphabet.unspellable("漢 字") == []
