"""The layout of LibriTTS: found at any level, read in a fixed order, fetched part by part."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from kd_lightning.corpora import libritts
from kd_lightning.corpora.download import Archive
from kd_lightning.corpora.libritts import (
    ARCHIVES,
    LibriTTSFolder,
    download_libritts,
    find_libritts,
    utterances,
)
from kd_lightning.corpora.utterance_files import Split, UtteranceFile

ALL = ("train-clean-100", "dev-clean", "test-clean")


def add(root: Path, part: str, id: str, text: str | None = "Hello.") -> Path:
    """An utterance: an (empty) wav and its texts; no normalised one where ``text`` is None."""
    speaker, chapter, *_ = id.split("_")
    folder = root / part / speaker / chapter
    folder.mkdir(parents=True, exist_ok=True)
    audio = folder / f"{id}.wav"
    audio.touch()
    audio.with_suffix(".original.txt").write_text("Not what is read.")
    if text is not None:
        audio.with_suffix(".normalized.txt").write_text(text, encoding="utf-8")
    return audio


def write_corpus(root: Path, parts: tuple[str, ...] = ALL) -> Path:
    for number, part in enumerate(parts):
        add(root, part, f"{10 + number}_1_000000_000000")
    (root / "SPEAKERS.txt").touch()
    return root


def read(folder: LibriTTSFolder, split: Split = Split.TRAIN) -> tuple[list[UtteranceFile], dict[str, str]]:
    skipped: dict[str, str] = {}
    return list(utterances(folder, split, skipped)), skipped


@pytest.mark.parametrize("above", [0, 1, 2, 3])
def test_the_corpus_is_found_up_to_three_levels_below(tmp_path: Path, above: int) -> None:
    root = write_corpus(tmp_path / "a" / "b" / "LibriTTS")
    assert find_libritts([root, *root.parents][above]).root == root


def test_two_corpora_are_an_error_that_lists_them(tmp_path: Path) -> None:
    one, other = write_corpus(tmp_path / "LibriTTS"), write_corpus(tmp_path / "LibriTTS_R")
    with pytest.raises(ValueError, match=f"holds 2 corpora; set it to one of: {one}, {other}"):
        find_libritts(tmp_path)


def test_a_missing_part_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    write_corpus(tmp_path, ("dev-clean", "test-clean", "train-clean-360"))
    with pytest.raises(
        ValueError, match="no part train-clean-100, only dev-clean, test-clean, train-clean-360"
    ):
        find_libritts(tmp_path)


def test_an_empty_part_is_half_extracted(tmp_path: Path) -> None:
    root = write_corpus(tmp_path, ("dev-clean", "test-clean"))
    (root / "train-clean-100").mkdir()
    with pytest.raises(ValueError, match="train-clean-100 is empty: the corpus is half-extracted"):
        find_libritts(tmp_path)


def test_librispeech_has_the_same_parts_and_is_told_apart(tmp_path: Path) -> None:
    root = write_corpus(tmp_path / "LibriSpeech")
    (root / "SPEAKERS.txt").rename(root / "SPEAKERS.TXT")
    with pytest.raises(FileNotFoundError, match="LibriSpeech looks like LibriSpeech"):
        find_libritts(tmp_path)


def test_a_part_in_two_splits_is_an_error(tmp_path: Path) -> None:
    parts = {Split.TRAIN: ("dev-clean",), Split.VALIDATION: ("dev-clean",), Split.TEST: ("test-clean",)}
    with pytest.raises(ValueError, match=r"corpus\.parts names dev-clean more than once"):
        find_libritts(write_corpus(tmp_path), parts)


def test_several_parts_are_read_one_after_the_other_each_sorted(tmp_path: Path) -> None:
    root = write_corpus(tmp_path)
    late = add(root, "train-clean-360", "9_7_000002_000001", "Ünd zwei?\n")
    add(root, "train-clean-360", "9_7_000002_000000", "Eins.")
    parts = {
        Split.TRAIN: ("train-clean-360", "train-clean-100"),
        Split.VALIDATION: ("dev-clean",),
        Split.TEST: (),
    }
    folder = find_libritts(root, parts)
    found, skipped = read(folder)
    assert [u.id for u in found] == ["9_7_000002_000000", "9_7_000002_000001", "10_1_000000_000000"]
    assert found[1] == UtteranceFile("9_7_000002_000001", late, "Ünd zwei?", "9", None, None)
    assert [u.speaker for u in read(folder, Split.VALIDATION)[0]] == ["11"]
    assert read(folder, Split.TEST) == ([], {})
    assert skipped == {}


def test_what_cannot_be_used_is_counted_with_the_reason(tmp_path: Path) -> None:
    root = write_corpus(tmp_path)
    add(root, "train-clean-100", "12_3_000000_000000", None)
    add(root, "train-clean-100", "12_3_000000_000001", " \n")
    add(root, "train-clean-100", "12_3_000000_000002").unlink()
    add(root, "train-clean-100", "12_3_000000_000003").with_suffix(".normalized.txt").write_bytes(b"\xff")
    (root / "train-clean-100" / "12" / "3" / "._12_3_000000_000004.wav").touch()
    (root / "train-clean-100" / "12" / "3" / "12_3.trans.tsv").touch()
    found, skipped = read(find_libritts(root))
    assert [u.id for u in found] == ["10_1_000000_000000"]
    inside = "train-clean-100/12/3/12_3_000000_00000"
    assert skipped == {
        f"{inside}0.wav": "there is no .normalized.txt beside it",
        f"{inside}1.wav": "the transcript is empty",
        f"{inside}2.wav": "the audio is missing",
        f"{inside}3.wav": "its .normalized.txt is not UTF-8: invalid start byte",
    }


def test_the_checksums_are_those_of_torchaudio() -> None:
    from torchaudio.datasets.libritts import _CHECKSUMS

    theirs = {url.rpartition("/")[2].removesuffix(".tar.gz"): sha for url, sha in _CHECKSUMS.items()}
    assert {part: archive.sha256 for part, archive in ARCHIVES.items()} == theirs


def pack(root: Path, part: str, file: Path) -> Archive:
    """The published archive of one part: LibriTTS/<part> and the texts about the whole corpus."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(root / part, f"LibriTTS/{part}")
        archive.add(root / "SPEAKERS.txt", "LibriTTS/SPEAKERS.txt")
    file.write_bytes(buffer.getvalue())
    return Archive(file.as_uri(), hashlib.sha256(buffer.getvalue()).hexdigest(), f"LibriTTS_{part}")


def test_parts_are_fetched_into_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = write_corpus(tmp_path / "published")
    archives = {part: pack(published, part, tmp_path / f"{part}.tar.gz") for part in ALL}
    monkeypatch.setattr(libritts, "ARCHIVES", archives)
    data = tmp_path / "data"
    some = {Split.TRAIN: ("dev-clean",), Split.VALIDATION: (), Split.TEST: ()}
    assert download_libritts(data, some) == data / "LibriTTS"
    assert sorted(path.name for path in (data / "LibriTTS").iterdir()) == ["SPEAKERS.txt", "dev-clean"]

    (tmp_path / "dev-clean.tar.gz").unlink()  # it is not asked for again
    root = download_libritts(data)
    assert [path.name for path in data.iterdir()] == ["LibriTTS"]
    assert [len(read(find_libritts(data), split)[0]) for split in Split] == [1, 1, 1]
    assert sorted(path.name for path in root.iterdir()) == ["SPEAKERS.txt", *sorted(ALL)]


def test_a_part_that_nobody_published_cannot_be_fetched(tmp_path: Path) -> None:
    parts = {Split.TRAIN: ("train-clean-10",), Split.VALIDATION: ("dev-clean",), Split.TEST: ("test-clean",)}
    with pytest.raises(ValueError, match=r"corpus\.parts names train-clean-10; published are dev-clean"):
        download_libritts(tmp_path, parts)
    assert list(tmp_path.iterdir()) == []
