"""Find a published corpus at a folder or a few levels below it, and say what else is there."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

LEVELS = 3

# What only this corpus has at its root.
_MARKERS = {
    "validation_list.txt": "Speech Commands",
    "validated.tsv": "Common Voice",
    "SPEAKERS.TXT": "LibriSpeech",
    "SPEAKERS.txt": "LibriTTS",
    "speakers.tsv": "LibriTTS",
    "speaker-info.txt": "VCTK",
    "metadata.csv": "LJSpeech",
}


def search(folder: Path, accept: Callable[[dict[str, bool]], bool], levels: int = LEVELS) -> Iterator[Path]:
    """Folders that are accepted, from ``folder`` down, in a fixed order; nothing is looked for inside one.

    Args:
        folder: where to start.
        accept: gets the names of a folder's entries, hidden ones left out, and whether each is a folder.
        levels: how many folders deep to go.
    """
    try:
        with os.scandir(folder) as entries:
            names = {entry.name: entry.is_dir() for entry in entries if not entry.name.startswith(".")}
    except PermissionError:
        return
    if accept(names):
        yield folder
    elif levels:
        for name in sorted(name for name, is_folder in names.items() if is_folder):
            yield from search(folder / name, accept, levels - 1)


def the_only_one(root: Path, accept: Callable[[dict[str, bool]], bool], corpus: str, expected: str) -> Path:
    """The one folder at ``root`` or up to three levels below it that is accepted.

    Args:
        root: a folder.
        accept: as in :func:`search`.
        corpus: the name of what is looked for.
        expected: what makes a folder that corpus, for the error.

    Raises:
        FileNotFoundError: there is no such folder, or none below it; names another corpus that is there.
        ValueError: there are several.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"corpus.root={root} is not a folder")
    found = list(search(root, accept))
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        raise ValueError(f"corpus.root={root} holds {len(found)} corpora; set it to one of: {listed}")
    if not found:
        raise FileNotFoundError(
            f"no {corpus} corpus at corpus.root={root} or up to {LEVELS} levels below it: expected {expected}"
            f"{other_corpus(root, corpus)}"
        )
    return found[0]


def other_corpus(root: Path, corpus: str) -> str:
    """The end of an error's sentence: another corpus than ``corpus`` that lies there, or nothing."""
    for marker, other in _MARKERS.items():
        if other != corpus:
            for path in search(root, lambda names, marker=marker: marker in names):  # type: ignore[misc]
                return f". {path} looks like {other}"
    return ""
