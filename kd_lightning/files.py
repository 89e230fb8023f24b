"""Files that are whole or absent, whatever happens while they are written, and names for them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

_LONGEST_NAME = 200


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Write a file beside its place; when the block ends well it reaches the disk and is renamed over ``path``.

    Yields:
        where to write.

    Raises:
        OSError: it could not be written; names the file. The old one, if any, is untouched and nothing is left beside.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error}): see that there is space and that the folder may be written, then "
            "start again"
        ) from error
    finally:
        with suppress(OSError):  # a folder that cannot be written has said so
            beside.unlink(missing_ok=True)


def write(path: Path, content: str | bytes) -> None:
    """Write a whole file or nothing."""
    with whole(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


def safe_name(text: str) -> str:
    """Any text as the name of a file, without its ending.

    Letters, digits and ``_.-~`` stay, all else is percent-encoded; a long name is cut and gets a digest of the whole.

    Args:
        text: such as the id of a cut.
    """
    name = quote(text, safe="", errors="surrogatepass")
    if len(name) <= _LONGEST_NAME:
        return name
    digest = sha256(name.encode()).hexdigest()
    return f"{name[: _LONGEST_NAME - len(digest) - 1]}-{digest}"
