"""The letters of torchaudio's Tacotron 2: its own numbers, what is read like what, and what nobody can say."""

import pytest
from torchaudio.pipelines import TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH as BUNDLE

from kd_lightning.frontend.published_letters import PublishedLetters

LETTERS = PublishedLetters()


def test_the_padding_is_the_first_of_as_many_symbols() -> None:
    theirs = BUNDLE.get_text_processor().tokens
    assert LETTERS.pieces == ["<blank>", *theirs[1:]]
    assert LETTERS.size == BUNDLE._tacotron2_params["n_symbol"] == 38


@pytest.mark.parametrize("text", ["Hello world!", "It's (so) fine: yes; no, why - not? A-b."])
def test_texts_have_torchaudios_numbers(text: str) -> None:
    tokens, lengths = BUNDLE.get_text_processor()(text)
    assert LETTERS.encode(text) == tokens[0, : lengths[0]].tolist()
    assert LETTERS.decode(LETTERS.encode(text)) == text.lower()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("“Café”—no…", "cafe-no..."),
        ("don’t [ever]\n stop_it", "don't ever stopit"),  # noqa: RUF001
        ("'Tis", "'tis"),
    ],
)
def test_what_is_written_otherwise_is_said_alike(text: str, said: str) -> None:
    assert LETTERS.decode(LETTERS.encode(text)) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It is 5 o'clock", "cannot say '5' in"),
        ("you & 你", "cannot say '&', '你' in .* write it in words"),
        ("10 %", "cannot say '%', '0', '1' in"),
        ("...", r"there is nothing to say in '\.\.\.'"),
        ("", "there is nothing to say in ''"),
    ],
)
def test_what_cannot_be_said_is_named(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LETTERS.encode(text)


def test_words_that_cannot_be_said() -> None:
    assert LETTERS.unspellable("We saw 12 cats & “one” dog.") == ["12", "&"]
