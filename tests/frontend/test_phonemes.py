# ruff: noqa: RUF001  (phones look like letters)
"""Phonemes: what espeak reads, mark by mark; what tokens cannot say is named."""

import pickle
import subprocess
import sys
import time

import numpy as np
import pytest

from kd_lightning.corpora import sentences
from kd_lightning.frontend.phonemes import Phonemes, phonemised
from kd_lightning.frontend.sentences import MARKS
from kd_lightning.frontend.tokens import decoder_of

pytest.importorskip("phonemizer")

VOICE = "en-us"
PANGRAM = (
    "The beige hue on the waters of the loch, it impressed all; the boy, how thin! Which measure? "
    "She judged a young thing—yes: good ... enough."
)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return sentences.draw(300, np.random.default_rng(0), 1)


@pytest.fixture(scope="module")
def tokens(texts: list[str]) -> Phonemes:
    return Phonemes.of(texts, VOICE)


def spelt(tokens: Phonemes, text: str) -> list[str]:
    return [tokens.pieces[token] for token in tokens.encode(text)]


def test_a_sentence_is_its_phones_and_marks_between_boundaries() -> None:
    tokens = Phonemes.of([PANGRAM], VOICE)
    text = "The young thing, Dr. Good: the beige boy!"
    expected = "_ ð ə j ˈʌ ŋ θ ˈɪ ŋ , d ˈɑː k t ɚ ɡ ˈʊ d : ð ə b ˈeɪ ʒ b ˈɔɪ ! _"
    assert phonemised([text], VOICE) == [expected.split()[1:-1]]
    assert [piece.lstrip("ˈˌ") for piece in spelt(tokens, "The young thing!")] == list("_ðəjʌŋθɪŋ!_")
    assert tokens.pieces[:2] == ["<blank>", "_"]
    assert set(MARKS) <= set(tokens.pieces)
    assert len(set(tokens.pieces)) == tokens.size


def test_every_text_of_the_training_set_is_said_with_its_own_phones(
    tokens: Phonemes, texts: list[str]
) -> None:
    for text, numbers, pieces in zip(texts, tokens.encode_all(texts), phonemised(texts, VOICE), strict=True):
        assert [tokens.pieces[number] for number in numbers] == ["_", *pieces, "_"]
        assert tokens.encode(text) == numbers
        assert not tokens.unspellable(text)


def test_texts_in_a_batch_do_not_hear_of_one_another(texts: list[str]) -> None:
    odd = ["", "...", "— no: “yes”!", "(then)", "x"]
    together = phonemised([*odd, *texts[:20]], VOICE)
    assert together == [phonemised([text], VOICE)[0] for text in (*odd, *texts[:20])]
    assert together[:2] == [[], ["…"]]
    assert together[2] == ["—", "n", "ˈoʊ", ":", "j", "ˈɛ", "s", "!"]


def test_the_list_of_pieces_and_the_voice_are_enough(tokens: Phonemes, texts: list[str]) -> None:
    again = Phonemes(VOICE, list(tokens.pieces))
    copy = pickle.loads(pickle.dumps(tokens))
    read = decoder_of(tokens.pieces)
    for text in texts[:20]:
        numbers = tokens.encode(text)
        assert again.encode(text) == copy.encode(text) == numbers
        assert read(numbers) == tokens.decode(numbers) == f"_{''.join(phonemised([text], VOICE)[0])}_"


def test_three_hundred_texts_take_less_than_a_second(tokens: Phonemes, texts: list[str]) -> None:
    tokens.encode("go")  # loads espeak
    start = time.perf_counter()
    tokens.encode_all(texts)
    assert time.perf_counter() - start < 1


def test_a_phone_is_said_with_the_stress_that_was_learnt_and_a_mark_like_another() -> None:
    assert phonemised(["little!"], VOICE) == [["l", "ˈɪ", "ɾ", "əl", "!"]]
    tokens = Phonemes(VOICE, ["<blank>", "_", ".", "l", "əl", "ɪ", "ˌɪ", "ɾ"])
    assert spelt(tokens, "Little!") == ["_", "l", "ɪ", "ɾ", "əl", ".", "_"]
    assert spelt(tokens, "Little, little?") == [
        "_", *("l", "ɪ", "ɾ", "əl"), *("l", "ɪ", "ɾ", "əl"), ".", "_",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "  \n", "...", "“ ”", "\u200b"])
def test_a_text_with_nothing_to_say_is_refused(tokens: Phonemes, text: str) -> None:
    with pytest.raises(ValueError, match="nothing to say"):
        tokens.encode(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Tea in 東京 now", "'東', '京'"),
        ("Привет", "'П', 'р', 'и', 'в', 'е', 'т'"),
        ("a bell \x07", r"'\\x07'"),
        ("half of \ud83d", r"'\\ud83d'"),
        ("so \ufffd", "'\ufffd'"),
    ],
)
def test_characters_that_no_token_says_are_named(tokens: Phonemes, text: str, named: str) -> None:
    with pytest.raises(ValueError, match=f"cannot say {named} in "):
        tokens.encode(text)


def test_words_with_phones_that_were_never_learnt_are_named(tokens: Phonemes) -> None:
    text = "The boy had visions of 10.5 eggs 東京"
    assert tokens.unspellable(text) == ["boy", "visions", "10.5", "東京"]
    with pytest.raises(ValueError, match="phones of 'boy', 'visions' in the texts"):
        tokens.encode("The boy had visions")


def test_accents_quotation_marks_numbers_and_signs_are_read() -> None:
    for text, same in (
        ("café", "cafe\u0301"),
        ("don’t", "don't"),
        ("10 dollars", "ten dollars"),
        ("you & me", "you and me"),
        ("“hello”", "hello"),
    ):
        assert phonemised([text], VOICE) == phonemised([same], VOICE), text


def test_a_voice_of_another_script_says_its_letters() -> None:
    assert Phonemes.of(["Привет, мир."], "ru").encode("мир")


def test_an_unknown_voice_and_texts_without_words_are_refused() -> None:
    with pytest.raises(ValueError, match="no voice 'en-moon'"):
        Phonemes.of(["a"], "en-moon")
    with pytest.raises(ValueError, match="need transcripts"):
        Phonemes.of(["", "..."], VOICE)
    with pytest.raises(ValueError, match="begin with"):
        Phonemes(VOICE, ["_", "a"])


def test_without_phonemizer_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['phonemizer'] = None\n"
        "from kd_lightning.frontend.phonemes import Phonemes\n"
        "try: Phonemes('en-us', ['<blank>', '_', 'a']).encode('a')\n"
        "except ModuleNotFoundError as error: sys.exit(\"'kd_lightning[synthesis]'\" not in str(error))\n"
        "sys.exit(2)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
