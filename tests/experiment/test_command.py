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
