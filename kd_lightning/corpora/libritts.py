"""The published folder layout of LibriTTS, and where to get it.

    LibriTTS/<part>/<speaker>/<chapter>/<speaker>_<chapter>_<paragraph>_<sentence>.wav
                                        … .normalized.txt  … .original.txt

Zen et al., "LibriTTS: A Corpus Derived from LibriSpeech for Text-to-Speech", 2019. LibriTTS-R has the same layout.
"""

import shutil
from collections.abc import Container, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kd_lightning.corpora.download import Archive, fetch
from kd_lightning.corpora.published import the_only_one
from kd_lightning.corpora.utterance_files import Split, UtteranceFile, read_snr

FOLDER = "LibriTTS"
_AUDIO, _TEXT = ".wav", ".normalized.txt"

PARTS: Mapping[Split, Sequence[str]] = {
    Split.TRAIN: ("train-clean-100",),
    Split.VALIDATION: ("dev-clean",),
    Split.TEST: ("test-clean",),
}

# https://www.openslr.org/60
_SHA256 = {
    "dev-clean": "da0864e1bd26debed35da8a869dd5c04dfc27682921936de7cff9c8a254dbe1a",
    "dev-other": "d413eda26f3a152ac7c9cf3658ef85504dfb1b625296e5fa83727f5186cca79c",
    "test-clean": "234ea5b25859102a87024a4b9b86641f5b5aaaf1197335c95090cde04fe9a4f5",
    "test-other": "33a5342094f3bba7ccc2e0500b9e72d558f72eb99328ac8debe1d9080402f10d",
    "train-clean-100": "c5608bf1ef74bb621935382b8399c5cdd51cd3ee47cec51f00f885a64c6c7f6b",
    "train-clean-360": "ce7cff44dcac46009d18379f37ef36551123a1dc4e5c8e4eb73ae57260de4886",
    "train-other-500": "e35f7e34deeb2e2bdfe4403d88c8fdd5fbf64865cae41f027a185a6965f0a5df",
}
ARCHIVES: Mapping[str, Archive] = {
    part: Archive(f"https://www.openslr.org/resources/60/{part}.tar.gz", sha256, f"{FOLDER}_{part}")
    for part, sha256 in _SHA256.items()
}


class LibriTTSFolder(NamedTuple):
    """A corpus that was found: ``root`` holds the parts, ``parts`` says which of them make each split."""

    root: Path
    parts: Mapping[Split, Sequence[str]]


def find_libritts(root: Path, parts: Mapping[Split, Sequence[str]] = PARTS) -> LibriTTSFolder:
    """Find the one LibriTTS at ``root`` or in a folder up to three levels below it.

    Args:
        root: a folder.
        parts: which parts make each split.

    Raises:
        FileNotFoundError: there is no such folder, or none below it.
        ValueError: there are several, a part is in two splits, or the one there is lacks a part or its speakers.
    """
    wanted = [part for split in Split for part in parts.get(split, ())]
    twice = sorted({part for part in wanted if wanted.count(part) > 1})
    if twice:
        raise ValueError(f"corpus.parts names {', '.join(twice)} more than once")

    def is_libritts(names: dict[str, bool]) -> bool:
        # LibriSpeech has the same parts; its table of speakers is in capitals.
        return "SPEAKERS.TXT" not in names and any(names.get(part, False) for part in (*wanted, *ARCHIVES))

    expected = f"a folder with {', '.join(wanted)}"
    folder = the_only_one(root, is_libritts, "LibriTTS", expected)
    there = sorted(path.name for path in folder.iterdir() if path.is_dir())
    for part in wanted:
        if part not in there:
            raise ValueError(
                f"{folder} has no part {part}, only {', '.join(there)}: set corpus.parts, or extract it beside them"
            )
        if next(_folders(folder / part), None) is None:
            raise ValueError(f"{folder / part} is empty: the corpus is half-extracted; extract it again")
    return LibriTTSFolder(folder, parts)


def download_libritts(folder: Path, parts: Mapping[Split, Sequence[str]] = PARTS) -> Path:
    """Fetch the published archives of the parts that are missing; returns the corpus root below ``folder``.

    Raises:
        ConnectionError: the server cannot be reached or breaks off; what came is kept for the next call.
        ValueError: a part is not a published one, or a checksum is wrong; the file is deleted.
        OSError: the disk is full (or the like).
    """
    root = folder / FOLDER
    wanted = [part for split in Split for part in parts.get(split, ())]
    unknown = sorted(set(wanted) - set(ARCHIVES))
    if unknown:
        raise ValueError(f"corpus.parts names {', '.join(unknown)}; published are {', '.join(ARCHIVES)}")
    for part in wanted:
        if not (root / part).is_dir():
            unpacked = fetch(ARCHIVES[part], folder)
            root.mkdir(exist_ok=True)
            # The part is moved last: where it is, all of it is.
            for path in sorted((unpacked / FOLDER).iterdir(), key=lambda path: path.name == part):
                if path.name == part or path.is_file():
                    path.replace(root / path.name)
            shutil.rmtree(unpacked)
    return root


def utterances(
    folder: LibriTTSFolder,
    split: Split,
    skipped: MutableMapping[str, str],
    speakers: Container[str] | None = None,
) -> Iterator[UtteranceFile]:
    """The utterances of a split, sorted by part, speaker, chapter and name, read as they are asked for.

    Args:
        folder: the corpus.
        split: which of its parts.
        skipped: gets the reason by path in the corpus for each utterance that is left out.
        speakers: whose; ``None`` for everybody's.
    """
    snr = read_snr(folder.root)
    for part in folder.parts[split]:
        for speaker in _folders(folder.root / part):
            if speakers is not None and speaker.name not in speakers:
                continue
            for chapter in _folders(speaker):
                inside = chapter.relative_to(folder.root).as_posix()
                for id, path, text in _chapter(chapter, inside, skipped):
                    heard = snr.get(f"{inside}/{path.name}")
                    yield UtteranceFile(id, path, text, speaker.name, None, heard)


def _chapter(folder: Path, inside: str, skipped: MutableMapping[str, str]) -> Iterator[tuple[str, Path, str]]:
    """(id, audio, text) of each utterance of a chapter."""
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    ids = {name.removesuffix(_AUDIO) for name in names if name.endswith(_AUDIO)}
    ids |= {name.removesuffix(_TEXT) for name in names if name.endswith(_TEXT)}
    for id in sorted(ids):
        if f"{id}{_AUDIO}" not in names:
            skipped[f"{inside}/{id}{_AUDIO}"] = "the audio is missing"
        elif f"{id}{_TEXT}" not in names:
            skipped[f"{inside}/{id}{_AUDIO}"] = f"there is no {_TEXT} beside it"
        else:
            try:
                text = (folder / f"{id}{_TEXT}").read_text(encoding="utf-8").strip()
            except UnicodeDecodeError as error:
                skipped[f"{inside}/{id}{_AUDIO}"] = f"its {_TEXT} is not UTF-8: {error.reason}"
                continue
            if text:
                yield id, folder / f"{id}{_AUDIO}", text
            else:
                skipped[f"{inside}/{id}{_AUDIO}"] = "the transcript is empty"


def _folders(folder: Path) -> Iterator[Path]:
    """The folders in a folder, sorted by name."""
    yield from sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
