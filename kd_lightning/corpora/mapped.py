"""Arrays of a folder that stay on the disk: mapped when it is opened, and again when its pickle is read."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from kd_lightning.files import write

AUDIO = "audio.npy"
_DIGEST = "audio.digest"


class Mapped:
    """A folder whose arrays are mapped, so that opening it reads nothing and a worker gets none of them.

    Attributes:
        arrays: file by the attribute that maps it.
        folder: where it lies.
    """

    arrays: ClassVar[dict[str, str]]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._map()

    def digest(self) -> str:
        """A digest of the audio, read once and then kept; one process at a time."""
        path = self.folder / _DIGEST
        if not path.is_file():
            with (self.folder / AUDIO).open("rb") as file:
                write(path, hashlib.file_digest(file, "blake2b").hexdigest()[:32])
        return path.read_text()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in self.arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()

    def _map(self) -> None:
        for name, file in self.arrays.items():
            setattr(self, name, np.load(self.folder / file, mmap_mode="r"))
