"""The notebooks run from top to bottom, alone, in at most 100 lines of code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FOLDER = Path(__file__).parents[1] / "notebooks"
SHORT = {
    "palimpsest_in_100_lines": ("SECONDS = 15", "SECONDS = 2"),
    "lifetime_in_100_lines": ("LIVES, STEPS, D, BITS = 4, 2000", "LIVES, STEPS, D, BITS = 1, 500"),
}
OWN = ("agents", "envs", "experiments", "train", "evaluate")


@pytest.fixture(params=SHORT)
def notebook(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.param, nbformat.read(FOLDER / f"{request.param}.ipynb", as_version=4)


def code(node: Any) -> list[str]:
    """Lines of code, without blank lines and comments."""
    cells = [cell.source for cell in node.cells if cell.cell_type == "code"]
    lines = [line.strip() for source in cells for line in source.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def test_a_hundred_lines_and_nothing_of_this_repository(notebook: tuple[str, Any]) -> None:
    lines = code(notebook[1])
    assert len(lines) <= 100
    imported = [line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))]
    assert not set(imported) & set(OWN)


def test_runs_from_top_to_bottom(notebook: tuple[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MPLBACKEND", raising=False)  # where it is set, pictures do not reach the notebook
    name, node = notebook
    full, short = SHORT[name]
    (cell,) = [cell for cell in node.cells if full in cell.source]
    cell.source = cell.source.replace(full, short)  # a fraction of the training: what it reaches is not asserted
    client = nbclient.NotebookClient(node, timeout=1200, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    kinds = {output.output_type for cell in node.cells for output in cell.get("outputs", [])}
    assert "error" not in kinds and "display_data" in kinds  # a picture was drawn


def test_the_stored_outputs_are_of_a_whole_run(notebook: tuple[str, Any]) -> None:
    node = notebook[1]
    counts = [cell.execution_count for cell in node.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert len(nbformat.writes(node)) < 200_000  # small enough to be read in a diff
