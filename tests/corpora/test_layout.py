"""Finding the corpus folder, its files and their splits."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kd_lightning.corpora.layout import Split, clip_files, find_corpus, noise_files, read_lists, split_by_name


@pytest.mark.parametrize("levels", range(4))
def test_the_corpus_is_found_up_to_three_levels_below_the_root(
    tmp_path: Path, corpus_writer: Callable[..., Path], levels: int
) -> None:
    root = tmp_path / "root"
    written = corpus_writer(root.joinpath(*"abc"[:levels]))
    assert find_corpus(root).root == written


def test_four_levels_below_is_too_far(tmp_path: Path, corpus_writer: Callable[..., Path]) -> None:
    corpus_writer(tmp_path / "a" / "b" / "c" / "d")
    with pytest.raises(FileNotFoundError, match="no Speech Commands corpus"):
        find_corpus(tmp_path)


def test_two_candidates_are_listed(tmp_path: Path, corpus_writer: Callable[..., Path]) -> None:
    first, second = corpus_writer(tmp_path / "v1", ["yes"]), corpus_writer(tmp_path / "v2", ["yes"])
    with pytest.raises(ValueError, match="2 corpora") as caught:
        find_corpus(tmp_path)
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_a_missing_folder_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"corpus\.root=.*nowhere is not a folder"):
        find_corpus(tmp_path / "nowhere")


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"word folders, validation_list\.txt and testing_list\.txt"):
        find_corpus(tmp_path)


def test_a_folder_of_another_corpus_is_named(tmp_path: Path) -> None:
    (tmp_path / "cv-corpus" / "en" / "clips").mkdir(parents=True)
    (tmp_path / "cv-corpus" / "en" / "validated.tsv").touch()
    with pytest.raises(FileNotFoundError, match="looks like Common Voice"):
        find_corpus(tmp_path)


@pytest.mark.parametrize("missing", ["validation_list.txt", "testing_list.txt"])
def test_one_missing_list_is_half_extracted(corpus: Path, missing: str) -> None:
    (corpus / missing).unlink()
    with pytest.raises(ValueError, match=f"{missing} is missing: the corpus is half-extracted"):
        find_corpus(corpus)


def test_both_lists_missing_is_half_extracted(corpus: Path) -> None:
    (corpus / "validation_list.txt").unlink()
    (corpus / "testing_list.txt").unlink()
    with pytest.raises(FileNotFoundError, match="half-extracted"):
        find_corpus(corpus)


def test_a_list_that_names_a_missing_file_is_half_extracted(corpus: Path) -> None:
    shutil.rmtree(corpus / "down")
    with pytest.raises(
        ValueError, match=r"name 6 files that are not there, first down/b0000000_nohash_0\.wav"
    ):
        read_lists(find_corpus(corpus))


def test_a_clip_in_both_lists_is_an_error(corpus: Path) -> None:
    with (corpus / "testing_list.txt").open("a") as file:
        file.write("yes/b0000000_nohash_0.wav\n")
    with pytest.raises(ValueError, match=r"yes/b0000000_nohash_0\.wav is in both"):
        read_lists(find_corpus(corpus))


def test_folders_without_lists_are_found_by_the_words_that_are_named(
    tmp_path: Path, corpus_writer: Callable[..., Path]
) -> None:
    root = corpus_writer(tmp_path / "mine", ["lamp", "door"], noise_seconds=0)
    (root / "validation_list.txt").unlink()
    (root / "testing_list.txt").unlink()
    found = find_corpus(tmp_path, ["door", "lamp"])
    assert found.root == root
    assert not found.has_lists
    with pytest.raises(FileNotFoundError, match="or the folders door, window"):
        find_corpus(tmp_path, ["door", "window"])


def test_files_carry_the_speaker_before_nohash(corpus: Path) -> None:
    found = find_corpus(corpus)
    files = clip_files(found, corpus / "yes")
    assert [file.id for file in files[:2]] == ["yes/a0000000_nohash_0.wav", "yes/a0000001_nohash_0.wav"]
    assert [file.speaker for file in files[:2]] == ["a0000000", "a0000001"]


def test_words_are_the_folders_without_underscore_and_noise_leaves_its_readme(corpus: Path) -> None:
    found = find_corpus(corpus)
    assert [word for word, _ in found.folders()] == ["down", "no", "up", "yes"]
    assert [file.path.name for file in noise_files(found)] == ["pink.wav"]


def test_the_official_test_set_is_found_beside_and_below(
    corpus: Path, test_set_writer: Callable[..., Path]
) -> None:
    beside = test_set_writer(corpus.parent / "speech_commands_test_set_v0.02", ["yes"])
    assert find_corpus(corpus.parent).test_set == beside
    below = corpus / "speech_commands_test_set_v0.02"
    shutil.move(beside, below)
    found = find_corpus(corpus)
    assert found.test_set == below
    assert [word for word, _ in found.folders()].count("speech_commands_test_set_v0.02") == 0


def test_of_two_test_sets_the_one_of_the_same_version_counts(
    corpus: Path, test_set_writer: Callable[..., Path]
) -> None:
    test_set_writer(corpus.parent / "speech_commands_test_set_v0.01", ["yes"])
    same = test_set_writer(corpus.parent / "speech_commands_test_set_v0.02", ["yes"])
    assert find_corpus(corpus).test_set == same
    same.rename(same.with_name("speech_commands_test_set_copy"))
    with pytest.raises(ValueError, match="several official test sets"):
        find_corpus(corpus)


@pytest.mark.parametrize(
    ("split", "speakers"),
    [
        # Speakers of the published validation_list.txt and testing_list.txt.
        (
            Split.VALIDATION,
            ["8b775397", "2643992f", "060cd039", "f5e5e8b0", "dbb40d24", "d57febf0", "16db1582"],
        ),
        (Split.TESTING, ["2aa787cf", "ffa76c4a", "24ad3ebe", "d7467392", "5828dfa2", "91223b83", "f0ae7203"]),
    ],
)
def test_the_hash_rule_agrees_with_the_published_lists(split: Split, speakers: list[str]) -> None:
    assert {split_by_name(f"{speaker}_nohash_{take}.wav") for speaker in speakers for take in (0, 3)} == {
        split
    }


def test_the_hash_rule_gives_a_tenth_to_validation_and_a_tenth_to_test() -> None:
    names = [f"{hashlib.sha256(str(n).encode()).hexdigest()[:8]}_nohash_0.wav" for n in range(5000)]
    splits = [split_by_name(name) for name in names]
    assert splits.count(Split.VALIDATION) / 5000 == pytest.approx(0.1, abs=0.015)
    assert splits.count(Split.TESTING) / 5000 == pytest.approx(0.1, abs=0.015)
