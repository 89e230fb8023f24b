"""Audio that the folders of runs hold, inside the page as far as it fits."""

from base64 import b64encode
from collections.abc import Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from kd_lightning.files import safe_name

# Of the page that is audio, in characters.
MOST = 3_000_000
# What the page says the file is, and how such a file begins: nothing else of a disk gets into the page.
_KINDS = {".wav": ("audio/wav", b"RIFF"), ".flac": ("audio/flac", b"fLaC")}

Key = TypeVar("Key", bound=Hashable)


def embedded(wanted: Mapping[Key, Iterable[Path]]) -> tuple[dict[Key, str], list[Key]]:
    """Data URIs of audio, in the order given, until the page is full.

    Args:
        wanted: files by what is to be heard; the first that is there is taken.

    Returns:
        URIs by key, and the keys whose audio is there but did not fit.
    """
    found: dict[Key, str] = {}
    left_out: list[Key] = []
    room = MOST
    for key, paths in wanted.items():
        for path in paths:
            try:
                if not path.is_file():
                    continue
                # A file is read only if its four characters for three bytes fit.
                fits = path.stat().st_size * 4 // 3 <= room
                uri = _data_uri(path) if fits else None
            except OSError:
                continue
            if uri:
                found[key] = uri
                room -= len(uri)
            elif not fits:
                left_out.append(key)
            break
    return found, left_out


def audio_files(folders: Iterable[Path], cut: str, what: str = "") -> Iterator[Path]:
    """Where the folders of runs may hold the audio of a cut.

    Args:
        folders: of runs.
        cut: its id.
        what: of the cut; ".reference" is the recording where the file without it is what a network said.
    """
    for folder in folders:
        for ending in _KINDS:
            yield folder / "audio" / f"{safe_name(cut)}{what}{ending}"


def _data_uri(path: Path) -> str | None:
    kind, beginning = _KINDS[path.suffix]
    content = path.read_bytes()
    return f"data:{kind};base64,{b64encode(content).decode()}" if content.startswith(beginning) else None
