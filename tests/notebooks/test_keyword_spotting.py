"""The tour of a keyword run works on a finished run, and only reads it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "keyword_spotting.ipynb"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_valid_and_stored_without_outputs(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


def test_the_notebook_defines_nothing(notebook):
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, definitions)]


@pytest.mark.slow
def test_the_notebook_shows_and_plays_a_finished_run(notebook, quick_words, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    pipeline = [sys.executable, "-m", "kd_lightning.pipeline", *quick_words, "name=tour"]
    done = subprocess.run(
        [*pipeline, f"paths.runs={tmp_path}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    before = files(tmp_path / "tour")

    # Started in notebooks/, with a path from the root of the repository.
    monkeypatch.setenv("KD_RUN", os.path.relpath(tmp_path / "tour", NOTEBOOK.parents[1]))
    place = {"metadata": {"path": str(NOTEBOOK.parent)}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=place).execute()

    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    shown = [output.data for output in outputs if "data" in output]
    assert sum("image/png" in data for data in shown) >= 7
    assert sum("<audio" in data.get("text/html", "") for data in shown) >= 6
    assert any("Gap recovered" in data.get("text/markdown", "") for data in shown)
    assert files(tmp_path / "tour") == before


def files(folder: Path) -> dict[Path, int]:
    """Every file and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
