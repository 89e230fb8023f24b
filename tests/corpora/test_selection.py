"""Classes, unknown and silence, the labelled fraction."""

import numpy as np
import pytest

from kd_lightning.corpora.layout import SILENCE, UNKNOWN, Split
from kd_lightning.corpora.prepared import clip_dtype
from kd_lightning.corpora.selection import Classes, Selection, first, labelled

WORDS = ["a", "b", "c", "d", SILENCE]


def index(counts: dict[str, int], split: Split = Split.TRAIN, words: list[str] = WORDS) -> np.ndarray:
    rows = [
        (f"{word}/{n}".encode(), b"s", 0, words.index(word), split, np.nan)
        for word, count in counts.items()
        for n in range(count)
    ]
    return np.array(rows, clip_dtype(24, 8))


def words_of(selection: Selection, clips: np.ndarray) -> list[str]:
    return [id.decode().split("/")[0] for id in clips["id"][selection.rows].tolist()]


def test_all_words_are_classes_by_default() -> None:
    clips = index({"a": 3, "b": 2, "c": 1, "d": 1, SILENCE: 9})
    classes = Classes(WORDS, None, unknown=False, silence=False)
    selection = classes.select(clips, Split.TRAIN)
    assert classes.names == ["a", "b", "c", "d"]
    assert selection.labels.tolist() == [0, 0, 0, 1, 1, 2, 3]
    assert len(classes.select(clips, Split.TESTING).rows) == 0


def test_named_words_are_classes_in_their_order() -> None:
    clips = index({"a": 2, "b": 2, "c": 2})
    selection = Classes(WORDS, ["c", "a"], unknown=False, silence=False).select(clips, Split.TRAIN)
    assert selection.labels.tolist() == [1, 1, 0, 0]
    assert words_of(selection, clips) == ["a", "a", "c", "c"]


def test_unknown_and_silence_get_the_average_of_the_words() -> None:
    clips = index({"a": 30, "b": 11, "c": 100, "d": 100, SILENCE: 300})
    classes = Classes(WORDS, ["a", "b"], unknown=True, silence=True)
    assert classes.names == ["a", "b", UNKNOWN, SILENCE]
    selection = classes.select(clips, Split.TRAIN)
    assert np.bincount(selection.labels).tolist() == [30, 11, 21, 21]
    chosen = {
        word for word, label in zip(words_of(selection, clips), selection.labels, strict=True) if label == 2
    }
    assert chosen == {"c", "d"}


def test_the_choice_of_unknown_does_not_depend_on_what_else_there_is() -> None:
    few, more = index({"a": 10, "c": 40}), index({"a": 10, "b": 10, "c": 40})
    ids = [
        set(clips["id"][classes.select(clips, Split.TRAIN).rows].tolist())
        for clips, classes in (
            (few, Classes(WORDS, ["a"], True, False)),
            (more, Classes(WORDS, ["a", "b"], True, False)),
        )
    ]
    assert ids[0] <= ids[1]


def test_the_official_test_set_is_taken_whole() -> None:
    words = ["a", "b", UNKNOWN, SILENCE]
    clips = np.concatenate(
        [index({"a": 5, "b": 5}, words=words), index({"a": 2, UNKNOWN: 9, SILENCE: 7}, Split.TEST_SET, words)]
    )
    classes = Classes(words, ["a"], unknown=True, silence=True)
    assert classes.match_test_set(clips)
    assert np.bincount(classes.select(clips, Split.TEST_SET).labels).tolist() == [2, 9, 7]
    assert not Classes(words, ["a"], unknown=True, silence=False).match_test_set(clips)
    assert not Classes(words, ["b"], unknown=True, silence=True).match_test_set(clips)


@pytest.mark.parametrize(
    ("words", "unknown", "message"),
    [
        (["bat"], False, "no word 'bat'"),
        ([], False, "corpus.words is empty"),
        (["a", "a"], False, "names a word twice"),
        (None, True, "corpus.unknown=true needs words"),
        ([SILENCE], False, "no word '_silence_'"),
    ],
)
def test_impossible_classes_name_the_key(words: list[str] | None, unknown: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Classes(WORDS, words, unknown=unknown, silence=False)


def test_a_misspelt_word_is_met_with_a_close_one() -> None:
    with pytest.raises(ValueError, match=r"did you mean forward\?"):
        Classes(["forward", "yes"], ["foward"], unknown=False, silence=False)


def test_a_class_without_clips_is_named_with_its_unreadable_files() -> None:
    clips = index({"a": 3})
    classes = Classes(WORDS, ["a", "b"], unknown=False, silence=False)
    selection = classes.select(clips, Split.TRAIN)
    with pytest.raises(ValueError, match="class 'b' has no training clip; "):
        classes.require(selection, {})
    with pytest.raises(ValueError, match=r"class 'b' .*: 2 of its files cannot be read, e\.g\. b/1\.wav"):
        classes.require(selection, {"b/1.wav": "empty", "b/2.wav": "empty", "a/0.wav": "empty"})
    silent = Classes(WORDS, ["a"], unknown=False, silence=True)
    with pytest.raises(ValueError, match="class '_silence_' has no background noise"):
        silent.require(selection, {})


def test_the_labelled_fraction_is_stratified() -> None:
    clips = index({"a": 100, "b": 50, "c": 10})
    selection = Classes(WORDS, ["a", "b", "c"], False, False).select(clips, Split.TRAIN)
    visible = labelled(selection, clips, 0.1, ["a", "b", "c"])
    assert np.bincount(selection.labels[visible]).tolist() == [10, 5, 1]
    assert len(labelled(selection, clips, 1.0, ["a", "b", "c"])) == 160


def test_labelled_fractions_are_nested_and_random() -> None:
    clips = index({"a": 100, "b": 50})
    selection = Classes(WORDS, ["a", "b"], False, False).select(clips, Split.TRAIN)
    chosen = [
        set(labelled(selection, clips, fraction, ["a", "b"]).tolist()) for fraction in (0.1, 0.3, 0.6, 1.0)
    ]
    assert chosen[0] < chosen[1] < chosen[2] < chosen[3]
    assert chosen[0] != set(range(10)) | set(range(100, 105))


def test_a_clip_keeps_its_label_when_the_corpus_is_ordered_otherwise() -> None:
    clips = index({"a": 40})
    one, other = (
        {
            clips["id"][row]
            for row in np.arange(40)[order][labelled(Selection(order, order * 0), clips, 0.25, ["a"])]
        }
        for order in (np.arange(40), np.arange(40)[::-1])
    )
    assert one == other


def test_a_fraction_that_leaves_a_class_empty_names_the_class_and_the_key() -> None:
    clips = index({"a": 100, "b": 4})
    selection = Classes(WORDS, ["a", "b"], False, False).select(clips, Split.TRAIN)
    with pytest.raises(
        ValueError, match=r"corpus.labelled_fraction=0.1 leaves class 'b' .* 4 training clips"
    ):
        labelled(selection, clips, 0.1, ["a", "b"])


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1])
def test_fractions_outside_zero_and_one_are_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=f"corpus.labelled_fraction={fraction} is not in"):
        labelled(Selection(np.arange(3), np.zeros(3, int)), index({"a": 3}), fraction, ["a"])


def test_a_limit_takes_from_the_classes_in_turn() -> None:
    clips = index({"a": 10, "b": 2, "c": 10})
    selection = first(Classes(WORDS, ["a", "b", "c"], False, False).select(clips, Split.TRAIN), 9)
    assert np.bincount(selection.labels).tolist() == [4, 2, 3]
    assert np.all(np.diff(selection.rows) > 0)
