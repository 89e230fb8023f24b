"""Words of a command line."""

import pytest
from hydra.errors import HydraException

from kd_lightning.experiment.command import nested


def test_words_are_nested_by_their_dots_and_yes_and_no_are_words():
    words = [
        "run=runs/a b/finetune",
        "corpus.words=[yes,no]",
        "corpus.root=null",
        "minutes=2.5",
        "streaming=true",
    ]
    assert nested(words) == {
        "run": "runs/a b/finetune",
        "corpus": {"words": ["yes", "no"], "root": None},
        "minutes": 2.5,
        "streaming": True,
    }


def test_a_word_without_a_value_is_named():
    with pytest.raises(HydraException, match="streaming"):
        nested(["run=runs/a", "streaming"])


@pytest.mark.parametrize("key", ["run", "runs", "acoustic", "vocoder", "recogniser", "audio"])
@pytest.mark.parametrize(
    "path",
    [
        "multirun/b/seed=0,transfer=logits",
        "/data (old)/cv-corpus-17.0, en/[1]",
        "~/runs/a+b",
        "runs/12",
        "2024",
    ],
)
def test_paths_are_taken_as_they_are_typed(key: str, path: str):
    assert nested([f"{key}={path}", "seed=1"]) == {key: path, "seed": 1}
    assert nested([f"corpus.root={path}"]) == {"corpus": {"root": path}}


def test_a_path_may_be_in_quotation_marks_or_null():
    words = ['run="multirun/b/seed=0,transfer=logits"', "corpus.data='a b'", "vocoder=null"]
    assert nested(words) == {
        "run": "multirun/b/seed=0,transfer=logits",
        "corpus": {"data": "a b"},
        "vocoder": None,
    }


@pytest.mark.parametrize("word", ["run", "runs"])
def test_a_path_without_a_value_is_named(word: str):
    with pytest.raises(HydraException, match=word):
        nested([word])
