"""Audio of test utterances that a run's folder holds, inside the page as far as it fits."""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kd_lightning.files import safe_name

# Of the page that is audio, in characters.
MOST = 3_000_000
# What the page says the file is, and how such a file begins: nothing else of a disk gets into the page.
_KINDS = {".wav": ("audio/wav", b"RIFF"), ".flac": ("audio/flac", b"fLaC")}


def embedded(folders: Sequence[Path], cuts: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Data URIs of the audio of cuts, in the order given, until the page is full.

    Args:
        folders: of runs; the first that has a cut's audio gives it.
        cuts: ids.

    Returns:
        URIs by cut, and the cuts whose audio is there but did not fit.
    """
    found: dict[str, str] = {}
    left_out: list[str] = []
    room = MOST
    for cut in cuts:
        for path in _places(folders, cut):
            try:
                if not path.is_file():
                    continue
                # A file is read only if its four characters for three bytes fit.
                fits = path.stat().st_size * 4 // 3 <= room
                uri = _data_uri(path) if fits else None
            except OSError:
                continue
            if uri:
                found[cut] = uri
                room -= len(uri)
            elif not fits:
                left_out.append(cut)
            break
    return found, left_out


def _places(folders: Sequence[Path], cut: str) -> Iterator[Path]:
    for folder in folders:
        for ending in _KINDS:
            yield folder / "audio" / f"{safe_name(cut)}{ending}"


def _data_uri(path: Path) -> str | None:
    kind, beginning = _KINDS[path.suffix]
    content = path.read_bytes()
    return f"data:{kind};base64,{b64encode(content).decode()}" if content.startswith(beginning) else None
