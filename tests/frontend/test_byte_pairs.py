"""Byte pairs: every text is spelt and read again, numbers are the folder's, and files that do not fit."""

import json
from pathlib import Path

import pytest

from kd_lightning.frontend.byte_pairs import BytePairs, text_of
from kd_lightning.frontend.tokens import decoder_of

tokenizers = pytest.importorskip("tokenizers")

SENTENCES = ["the cat sat on the mat", "the man and the cat", "naïve façade", "漢字 ☃"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny tokenizer of the kind that Whisper has, in its older files."""
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator([f" {text}" for text in SENTENCES], vocab_size=290, min_frequency=2)
    trained.save_model(str(tmp_path))
    return tmp_path


def _end(folder: Path) -> int:
    return len(json.loads((folder / "vocab.json").read_text()))


@pytest.mark.parametrize("text", [*SENTENCES, "a dog", "ığdır", "ничего 漢", ""])  # noqa: RUF001
def test_texts_are_read_again(text: str, folder: Path) -> None:
    tokens = BytePairs(folder, _end(folder))
    spelt = tokens.encode(text)
    assert tokens.decode(spelt) == decoder_of(tokens.pieces)(spelt) == text
    assert all(1 <= token < tokens.size for token in spelt)


def test_no_word_is_unspellable(folder: Path) -> None:
    assert BytePairs(folder, _end(folder)).unspellable("zebra 漢字 42") == []


def test_numbers_are_the_folders_and_one_more(folder: Path) -> None:
    theirs = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokens = BytePairs(folder, _end(folder))
    for text in SENTENCES:
        expected = theirs.encode(f" {text}").ids
        assert tokens.encode(text) == [number + 1 for number in expected]
    frequent = tokens.encode("the cat")
    assert [tokens.pieces[token] for token in frequent] == [" the", " cat"]


def test_both_kinds_of_files_say_the_same(folder: Path) -> None:
    older = BytePairs(folder, _end(folder))
    theirs = tokenizers.ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    end = _end(folder)
    theirs.add_special_tokens(["<|endoftext|>"])
    theirs.save(str(folder / "tokenizer.json"))
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink()
    newer = BytePairs(folder, end)
    assert newer.pieces == older.pieces
    assert [newer.encode(text) for text in SENTENCES] == [older.encode(text) for text in SENTENCES]


def test_pieces_are_text_or_the_bytes_of_a_part_of_a_character() -> None:
    # As transformers names the bytes of " é" and the first two of the three of "€".
    assert text_of("ĠÃ©") == " é"
    assert text_of("âĤ") == "<0xE2><0x82>"
    assert text_of("âĤ¬") == "€"
    assert text_of("") == ""


def test_files_that_do_not_fit_are_refused(folder: Path) -> None:
    end = _end(folder)
    with pytest.raises(ValueError, match=f"has no token of number {end} and ends a text with {end + 1}"):
        BytePairs(folder, end + 1)
    (folder / "vocab.json").write_text("<html>")
    with pytest.raises(ValueError, match=r"vocab\.json is damaged"):
        BytePairs(folder, end)
    (folder / "vocab.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"has neither tokenizer\.json nor vocab\.json and merges\.txt"
    ):
        BytePairs(folder, end)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json is damaged"):
        BytePairs(folder, end)
