"""A store of made-up labels."""

import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up import fingerprint, write_all

from kd_lightning.labels.writer import LabelWriter


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """Writes a finished store; keywords change its fingerprint."""

    def make(name: str = "label", **changes: Any) -> Path:
        writer = LabelWriter(tmp_path / name, fingerprint(**changes))
        write_all(writer)
        return writer.folder

    return make


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file can grow beyond 20 kB: the system refuses the write, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
