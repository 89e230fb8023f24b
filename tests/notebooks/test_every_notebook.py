"""Notebooks read what the library has made of runs: they define nothing, train nothing, and are stored bare."""

import ast
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
LARGEST = 100_000  # bytes


def code(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_it_is_valid_and_stored_without_outputs(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert book.metadata.kernelspec.name == "python3"
    assert code(path)
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code(path))
    assert path.stat().st_size < LARGEST


def test_it_defines_nothing(path):
    for cell in code(path):
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, DEFINITIONS)]


def test_it_trains_nothing_and_writes_nothing(path):
    forbidden = {
        "fit",
        "backward",
        "step_optimizer",
        "run_stage",
        "pipeline",
        "write",
        "write_text",
        "write_bytes",
    }
    for cell in code(path):
        calls = [node.func for node in ast.walk(ast.parse(cell.source)) if isinstance(node, ast.Call)]
        names = {getattr(call, "attr", getattr(call, "id", "")) for call in calls}
        assert not names & forbidden


def test_its_first_code_names_the_folder_by_an_environment_variable(path):
    """Nothing below has to be edited to read another run."""
    first, *rest = code(path)
    assert "os.environ.get(" in first.source
    assert not [cell for cell in rest if "os.environ" in cell.source]


def test_it_comes_with_words_and_sound(path):
    cells = nbformat.read(path, as_version=4).cells
    assert cells[0].cell_type == "markdown"
    assert cells[0].source.startswith("# ")
    assert any("Audio(" in cell.source for cell in code(path))
    assert any("png(" in cell.source for cell in code(path))
