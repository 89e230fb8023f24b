"""The published folder layout of Speech Commands: where it is, what is in it, which split has which file.

    validation_list.txt  testing_list.txt  _background_noise_/*.wav  <word>/<speaker>_nohash_<take>.wav

Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 2018. The official test set
for ten words, unknown and silence is a second folder beside it, without lists: <word>/, _unknown_/ and
_silence_/.
"""

import hashlib
import os
import re
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from kd_lightning.corpora.published import LEVELS, other_corpus, search

VALIDATION_LIST = "validation_list.txt"
TESTING_LIST = "testing_list.txt"
BACKGROUND_NOISE = "_background_noise_"
UNKNOWN = "_unknown_"
SILENCE = "_silence_"
TEST_SET = "speech_commands_test_set"


class Split(IntEnum):
    """The part of the corpus that a clip belongs to; TEST_SET is the official 12-class test archive."""

    TRAIN = 0
    VALIDATION = 1
    TESTING = 2
    TEST_SET = 3


class Corpus(NamedTuple):
    """A corpus folder that was found.

    Attributes:
        root: the folder that holds the word folders.
        test_set: the folder of the official 12-class test set, where there is one.
        has_lists: whether the two list files give the splits; otherwise the published hash of the file name
            does.
    """

    root: Path
    test_set: Path | None
    has_lists: bool

    def folders(self) -> list[tuple[str, Path]]:
        """(word, folder) of each folder of clips, those of the test set last, in a fixed order."""
        words = [(path.name, path) for path in _subfolders(self.root) if _is_word(path.name)]
        test = [(path.name, path) for path in _subfolders(self.test_set)] if self.test_set else []
        return words + [(word, path) for word, path in test if _is_word(word) or word in (UNKNOWN, SILENCE)]


class ClipFile(NamedTuple):
    """A file of a word folder; ``id`` is its path in the corpus, ``speaker`` comes before _nohash_."""

    path: Path
    id: str
    speaker: str
    size: int
    modified: int


def find_corpus(root: Path, words: Sequence[str] | None = None) -> Corpus:
    """Find the one Speech Commands corpus at ``root`` or in a folder up to three levels below it.

    Args:
        root: a folder.
        words: folders that a corpus without list files must hold. None: list files are required.

    Raises:
        FileNotFoundError: there is no such folder, or none below it.
        ValueError: there are several, or the one there is lacks one of its lists.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"corpus.root={root} is not a folder")
    listed = list(search(root, lambda names: VALIDATION_LIST in names or TESTING_LIST in names))
    found = listed or (list(search(root, set(words).issubset)) if words else [])
    if not found:
        raise FileNotFoundError(_nothing_found(root, words))
    if len(found) > 1:
        raise ValueError(
            f"corpus.root={root} holds {len(found)} corpora; set it to one of: {', '.join(map(str, found))}"
        )
    corpus = found[0]
    if listed:
        for name in (VALIDATION_LIST, TESTING_LIST):
            if not (corpus / name).is_file():
                raise ValueError(
                    f"{corpus / name} is missing: the corpus is half-extracted; extract it again"
                )
    return Corpus(corpus, _find_test_set(corpus), bool(listed))


def clip_files(corpus: Corpus, folder: Path) -> list[ClipFile]:
    """The files of one folder of clips, sorted by name. Hidden files and folders are left out."""
    in_test_set = corpus.test_set is not None and folder.parent == corpus.test_set
    prefix = f"{folder.parent.name}/{folder.name}" if in_test_set else folder.name
    files = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.is_file():
                status = entry.stat()
                speaker = speaker_of(entry.name)
                path = folder / entry.name
                files.append(
                    ClipFile(path, f"{prefix}/{entry.name}", speaker, status.st_size, status.st_mtime_ns)
                )
    return sorted(files, key=lambda file: file.id)


def noise_files(corpus: Corpus) -> list[ClipFile]:
    """The long recordings of background noise, sorted by name, if any. The folder's README.md is left out."""
    folder = corpus.root / BACKGROUND_NOISE
    files = clip_files(corpus, folder) if folder.is_dir() else []
    return [file for file in files if file.path.suffix != ".md"]


def speaker_of(name: str) -> str:
    """The speaker in a file name, before ``_nohash_``; a name without one stands for a speaker of its own."""
    return re.sub(r"_nohash_.*$", "", name) if "_nohash_" in name else Path(name).stem


def split_by_name(name: str) -> Split:
    """The published rule for the split of a file name: 10 % of speakers validate, 10 % test (Warden 2018).

    The SHA-1 of the name before ``_nohash_``, modulo 2^27, as a percentage of 2^27 - 1.
    """
    speaker = re.sub(r"_nohash_.*$", "", name)
    percentage = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % 2**27 * 100 / (2**27 - 1)
    if percentage < 10:
        return Split.VALIDATION
    return Split.TESTING if percentage < 20 else Split.TRAIN


def read_lists(corpus: Corpus) -> dict[str, Split]:
    """Splits by clip id as the two list files give them; what neither names trains. Empty without list files.

    Raises:
        ValueError: a list names a file that is not there, or both name the same one.
    """
    splits: dict[str, Split] = {}
    if not corpus.has_lists:
        return splits
    for name, split in ((VALIDATION_LIST, Split.VALIDATION), (TESTING_LIST, Split.TESTING)):
        lines = (corpus.root / name).read_text(encoding="utf-8").split("\n")
        for clip in filter(None, map(str.strip, lines)):
            if splits.setdefault(clip, split) != split:
                raise ValueError(f"{clip} is in both {VALIDATION_LIST} and {TESTING_LIST} of {corpus.root}")
    missing = sorted(clip for clip in splits if not (corpus.root / clip).is_file())
    if missing:
        lists = f"{VALIDATION_LIST} and {TESTING_LIST}"
        raise ValueError(
            f"{lists} of {corpus.root} name {len(missing)} files that are not there, first {missing[0]}: "
            "the corpus is half-extracted; extract it again"
        )
    return splits


def _is_word(name: str) -> bool:
    return not name.startswith(("_", ".", TEST_SET))


def _subfolders(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        return sorted(
            folder / entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")
        )


def _find_test_set(corpus: Path) -> Path | None:
    found = [
        path
        for parent in (corpus, corpus.parent)
        for path in sorted(parent.glob(f"{TEST_SET}*"))
        if (path / SILENCE).is_dir() and (path / UNKNOWN).is_dir()
    ]
    version = corpus.name.removeprefix("speech_commands")
    same = [path for path in found if path.name == TEST_SET + version]
    if len(found) > 1 and len(same) != 1:
        raise ValueError(
            f"several official test sets belong to {corpus}, keep one: {', '.join(map(str, found))}"
        )
    return next(iter(same or found), None)


def _nothing_found(root: Path, words: Sequence[str] | None) -> str:
    lists = f"word folders, {VALIDATION_LIST} and {TESTING_LIST}"
    expected = f"{lists}, or the folders {', '.join(words)}" if words else lists
    place = f"corpus.root={root} or up to {LEVELS} levels below it"
    message = f"no Speech Commands corpus at {place}: expected {expected}"
    for path in search(root, {BACKGROUND_NOISE}.issubset):
        return f"{message}. {path} has {BACKGROUND_NOISE} but no lists: half-extracted? extract it again"
    return message + other_corpus(root, "Speech Commands")
