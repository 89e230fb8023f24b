"""Tokens spell what they can, report what they cannot, and are read with their list of pieces alone."""

import pickle
import random
import sys

import pytest

from kd_lightning.frontend.tokens import Characters, Pieces, decode, decoder_of, train_pieces

WORDS = ["the", "printing", "of", "book", "is", "art", "and", "old", "as", "hills", "we", "print", "on", "an"]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    draw = random.Random(0)
    return [" ".join(draw.choices(WORDS, k=draw.randint(3, 7))) for _ in range(200)]


@pytest.fixture(scope="module", params=["characters", "unigram", "bpe"])
def tokens(request, texts, tmp_path_factory):
    if request.param == "characters":
        return Characters.of(texts)
    return train_pieces(texts, tmp_path_factory.mktemp("pieces") / "pieces.model", 32, kind=request.param)


def test_a_text_comes_back_and_the_list_of_pieces_is_enough(tokens, texts):
    read = decoder_of(list(tokens.pieces))
    for text in texts:
        spelt = tokens.encode(text)
        assert all(0 < token < tokens.size for token in spelt)
        assert tokens.decode(spelt) == read(spelt) == text
    assert tokens.pieces[0] == "<blank>"
    assert len(set(tokens.pieces)) == tokens.size


def test_blanks_and_spare_spaces_are_silent(tokens):
    spelt = tokens.encode("the book")
    blank_between = [number for token in spelt for number in (0, token)]
    assert tokens.decode(blank_between) == "the book"
    assert decode(["<blank>", " ", "a"], [1, 2, 1, 0, 1, 2, 1]) == "a a"
    assert tokens.decode([]) == ""


def test_words_that_cannot_be_spelt_are_reported_and_the_others_are_spelt(tokens):
    text = "the 2 books of café"
    assert tokens.unspellable(text) == ["2", "café"]
    assert tokens.decode(tokens.encode(text)) == "the books of"
    assert tokens.unspellable("the books of") == []
    assert tokens.encode("2") == tokens.encode("") == []


def test_tokens_travel_to_worker_processes(tokens):
    again = pickle.loads(pickle.dumps(tokens))
    assert again.pieces == tokens.pieces
    assert again.encode("an old book") == tokens.encode("an old book")


def test_an_alphabet_is_sorted_without_digits_and_does_not_depend_on_the_order_of_texts(texts):
    alphabet = Characters.of([*texts, "10 ²"])
    assert alphabet.pieces == ["<blank>", " ", *sorted(set("".join(texts)) - {" "})]
    assert Characters.of(texts[::-1]).pieces == alphabet.pieces
    assert Characters(alphabet.pieces[2:]).pieces == alphabet.pieces


def test_coverage_leaves_out_the_rarest_letters():
    texts = ["a" * 90 + "b" * 9 + "ø"]
    assert Characters.of(texts).pieces[2:] == ["a", "b", "ø"]
    assert Characters.of(texts, coverage=0.99).pieces[2:] == ["a", "b"]
    assert Characters.of(texts, coverage=0.9).pieces[2:] == ["a"]


def test_chinese_words_are_characters_and_each_is_reported_alone():
    alphabet = Characters.of(["你好世界"])
    assert alphabet.unspellable("你们好3") == ["们", "3"]
    assert alphabet.decode(alphabet.encode("你们好")) == "你好"


def test_the_same_texts_give_the_same_model_file(texts, tmp_path):
    for kind in ("unigram", "bpe"):
        files = [tmp_path / f"{kind}{number}" / "pieces.model" for number in range(2)]
        for file in files:
            train_pieces(iter(texts), file, 32, kind=kind)
        assert files[0].read_bytes() == files[1].read_bytes()
        assert [entry.name for entry in files[0].parent.iterdir()] == ["pieces.model"]


def test_digits_take_no_pieces(texts, tmp_path):
    with_digits = train_pieces([*texts, "the 2nd book"], tmp_path / "a.model", 32)
    assert with_digits.pieces == train_pieces([*texts, "the book"], tmp_path / "b.model", 32).pieces


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_a_size_that_cannot_be_is_refused_with_one_that_can(kind, texts, tmp_path):
    path = tmp_path / "pieces.model"
    with pytest.raises(ValueError, match=r"at most (\d+) are possible") as most:
        train_pieces(texts, path, 5000, kind=kind)
    with pytest.raises(ValueError, match=r"at least (\d+),") as least:
        train_pieces(texts, path, 5, kind=kind)
    assert not path.exists()
    for refused in (most, least):
        size = int(str(refused.value).split("at ")[1].split()[1].rstrip(","))
        assert train_pieces(texts, path, size, kind=kind).size == size


def test_no_text_no_model_and_damage_are_clear(tmp_path):
    with pytest.raises(ValueError, match="no text to learn from"):
        train_pieces(["", "7"], tmp_path / "pieces.model", 10)
    with pytest.raises(ValueError, match="no letter"):
        Characters.of(["", "7 8"])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Pieces(tmp_path / "nowhere.model")
    (tmp_path / "bad.model").write_text("hello")
    with pytest.raises(ValueError, match=r"bad\.model is no sentencepiece model"):
        Pieces(tmp_path / "bad.model")
    with pytest.raises(ValueError, match="token 0 must be"):
        decoder_of(["a", "b"])


def test_a_model_with_other_control_pieces_is_refused(texts, tmp_path):
    import sentencepiece

    prefix = tmp_path / "foreign"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=str(prefix), vocab_size=32,
        unk_id=2, bos_id=0, eos_id=1, minloglevel=2,
    )  # fmt: skip
    with pytest.raises(ValueError, match="its unknown piece is number 2"):
        Pieces(prefix.with_suffix(".model"))


def test_without_sentencepiece_the_extra_is_named(monkeypatch, texts, tmp_path):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ValueError, match=r"kd_lightning\[recognition\]"):
        train_pieces(texts, tmp_path / "pieces.model", 32)
