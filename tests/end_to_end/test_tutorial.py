"""The tutorial runs from its first cell to its last, and its page has the same cells."""

import re
from pathlib import Path

import nbformat
import pytest
from nbconvert.preprocessors import ExecutePreprocessor

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    return nbformat.read(DOCS / "tutorial.ipynb", as_version=4)


def code_of(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def test_the_page_has_the_cells_of_the_notebook(notebook: nbformat.NotebookNode) -> None:
    blocks = re.findall(r"```python\n(.*?)\n```", (DOCS / "tutorial.md").read_text(), re.DOTALL)
    assert blocks == code_of(notebook)


def test_cells_are_short(notebook: nbformat.NotebookNode) -> None:
    for source in code_of(notebook):
        lines = [line for line in source.splitlines() if line and not line.startswith(("import ", "from "))]
        assert len(lines) <= 8 and source.count("\n") >= 2, source


@pytest.mark.slow
def test_every_cell_runs(notebook: nbformat.NotebookNode) -> None:
    ExecutePreprocessor(timeout=300).preprocess(notebook, {"metadata": {"path": str(DOCS)}})
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= 11
