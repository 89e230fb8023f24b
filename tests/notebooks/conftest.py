"""Notebooks, and how they are run over a finished run that they may only read."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


class Shown(NamedTuple):
    """What a notebook showed: the data of its outputs by type, and what it printed."""

    data: list[dict]
    printed: str

    @property
    def pictures(self) -> int:
        return sum("image/png" in one for one in self.data)

    @property
    def sounds(self) -> int:
        return sum("<audio" in one.get("text/html", "") for one in self.data)

    def says(self, text: str) -> bool:
        """Whether a text is in a table or a paragraph, or was printed."""
        return text in self.printed or any(text in one.get("text/markdown", "") for one in self.data)


@pytest.fixture
def tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Shown]:
    """Runs a notebook from its own folder; environment variables name folders from the root of the repository."""

    def execute(name: str, **folders: Path) -> Shown:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        for variable, folder in folders.items():
            monkeypatch.setenv(variable, os.path.relpath(folder, NOTEBOOKS.parent))
        before = {folder: _files(folder) for folder in folders.values()}
        book = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
        place = {"metadata": {"path": str(NOTEBOOKS)}}
        NotebookClient(book, timeout=600, kernel_name="python3", resources=place).execute()
        outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
        assert not [output for output in outputs if output.output_type == "error"]
        assert not [output.text for output in outputs if output.get("name") == "stderr"]
        assert {folder: _files(folder) for folder in folders.values()} == before
        printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
        return Shown([output.data for output in outputs if "data" in output], printed)

    return execute


def _files(folder: Path) -> dict[Path, int]:
    """Every file and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
