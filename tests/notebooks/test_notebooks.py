"""The notebooks themselves: in step with their sources, and executed for real at a tiny size."""

from pathlib import Path
from typing import Any

import nbformat
import pytest

from htc_lab.course.notebooks import check, cleaned, execute, notebooks_folder, to_notebook, with_parameters

TINY: dict[str, dict[str, Any]] = {"00_tour": {"pictures": 2}, "06_ablation": {"size": "tiny"}}


def test_every_notebook_is_in_step_with_its_source() -> None:
    assert check(notebooks_folder()) == []


def run(name: str, folder: Path) -> nbformat.NotebookNode:
    """Execute a notebook at its tiny size in an otherwise empty ``folder/notebooks``."""
    here = folder / "notebooks"
    here.mkdir()
    notebook = with_parameters(to_notebook(notebooks_folder() / "src" / f"{name}.py"), TINY[name])
    return cleaned(execute(notebook, here, timeout=300), folder)


def outputs(notebook: nbformat.NotebookNode, code: str) -> list[nbformat.NotebookNode]:
    """The outputs of the one cell that contains ``code``."""
    (cell,) = [c for c in notebook.cells if c.cell_type == "code" and code in c.source]
    return list(cell.outputs)


def kinds(found: list[nbformat.NotebookNode]) -> set[str]:
    return {kind for output in found for kind in output.get("data", {})}


def test_the_tour_runs_and_shows_its_first_picture_in_the_third_cell(tmp_path: Path) -> None:
    notebook = run("00_tour", tmp_path)
    written = [cell for cell in notebook.cells if cell.id != "injected-parameters"]
    assert "image/png" in kinds(written[2].outputs)
    assert "image/jpeg" in kinds(outputs(notebook, "StageView(model"))
    assert not any(o.output_type == "error" for c in notebook.cells for o in c.get("outputs", []))


def test_the_ablation_runs_and_a_second_run_reads_what_is_there(tmp_path: Path) -> None:
    notebook = run("06_ablation", tmp_path)
    tables = [
        o.data["text/markdown"]
        for c in notebook.cells
        for o in c.get("outputs", [])
        if "text/markdown" in o.get("data", {})
    ]
    assert [table.count("\n") for table in tables] == [2, 3, 4, 5]
    for code in ("plot_ladder(results)", "plot_stage_ap(results)", "plot_losses(", "compare_rungs(sample"):
        assert "image/png" in kinds(outputs(notebook, code)), code
    assert (tmp_path / "runs" / "ablation" / "results.json").is_file()

    checkpoints = sorted((tmp_path / "runs" / "ablation").glob("*/checkpoint.safetensors"))
    assert len(checkpoints) == 4
    before = [path.stat().st_mtime_ns for path in checkpoints]
    # After a restart the cells that train find their runs; the figures would only take time.
    needed = ("size =", "open_ladder(", "run_rung(")
    notebook.cells = [
        c for c in notebook.cells if c.cell_type == "code" and any(n in c.source for n in needed)
    ]
    for cell in notebook.cells:
        cell.outputs, cell.execution_count = [], None
    execute(notebook, tmp_path / "notebooks", timeout=300)
    assert [path.stat().st_mtime_ns for path in checkpoints] == before


@pytest.mark.parametrize("name", sorted(TINY))
def test_committed_pictures_are_there_for_a_reader_without_a_kernel(name: str) -> None:
    notebook = nbformat.read(notebooks_folder() / f"{name}.ipynb", as_version=4)
    shown = [o for c in notebook.cells for o in c.get("outputs", [])]
    assert {"image/png", "image/jpeg"} <= kinds(shown)
    assert not any("widget-view" in kind for kind in kinds(shown))
