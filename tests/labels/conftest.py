"""A store of made-up labels."""

from collections.abc import Callable
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
