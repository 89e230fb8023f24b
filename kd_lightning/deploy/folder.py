"""The folder of deployed networks, and what lies beside them: the script that runs them, the model card, checksums."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path
from typing import Any

from kd_lightning.deploy.card import card
from kd_lightning.deploy.script import script
from kd_lightning.files import write

SUMS = "SHA256SUMS"


@contextmanager
def not_left_empty(folder: Path) -> Iterator[None]:
    """Take the folder away again when what was to come into it is refused, and it holds nothing else."""
    try:
        yield
    finally:
        with suppress(OSError):  # there is none, or it holds files
            folder.rmdir()


def complete(run: Path, task: str) -> None:
    """Write ``run.py``, ``README.md`` and ``SHA256SUMS`` for the networks in a run's ``deploy/``.

    Args:
        run: the run's folder.
        task: "keyword", "recognition", "synthesis" or "vocoding".

    Raises:
        OSError: a file could not be written.
    """
    folder = run / "deploy"
    results: list[dict[str, Any]] = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    if any(result["format"] == "onnx" for result in results):
        write(folder / "run.py", script(task))
    write(folder / "README.md", card(run, task, results))
    write(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in digests(folder).items()))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of a folder, by name, but of the list of these itself."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != SUMS and not path.name.startswith("."):
            with path.open("rb") as file:
                found[path.name] = file_digest(file, "sha256").hexdigest()
    return found
