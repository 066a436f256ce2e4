"""The notebooks themselves: in step with their sources, and executed for real at a tiny size."""

import json
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from PIL import Image

from htc_lab.course.copies import for_students, with_solutions
from htc_lab.course.exercises import EXERCISES
from htc_lab.course.notebooks import (
    Change,
    check,
    cleaned,
    execute,
    notebooks_folder,
    to_notebook,
    with_parameters,
)
from tests.course.made_results import write_kept
from tests.notebooks.conftest import Run

FEW = (3, 2, 4)
TINY: dict[str, dict[str, Any]] = {
    "00_tour": {"pictures": 2},
    "01_data": {"scenes": FEW, "picture": 0},
    "02_plain_cascade": {"pictures": 3, "shown": 1},
    "03_interleaved": {"pictures": 3, "shown": 1},
    "04_mask_flow": {"pictures": 3, "shown": 1, "scored": 3, "scenes_on_disk": FEW},
    "05_semantic": {"pictures": 3, "shown": 1},
    "06_ablation": {"size": "tiny"},
    "07_own_data": {"pictures": 5},
    "08_coco": {
        "timed": "classroom",
        "size": (96, 128),
        "rehearsed": 1,
        "scored": 3,
        "scenes_on_disk": FEW,
    },
}
LESSONS = sorted(name for name in TINY if any(number.startswith(name[:2]) for number in EXERCISES))
TRAINS = "06_ablation"


def test_every_notebook_is_in_step_with_its_source() -> None:
    assert check(notebooks_folder()) == []


def run(run_in: Run, name: str, folder: Path, change: Change = for_students) -> nbformat.NotebookNode:
    """Execute a notebook at its tiny size in an otherwise empty ``folder/notebooks``."""
    here = folder / "notebooks"
    here.mkdir()
    notebook = with_parameters(to_notebook(notebooks_folder() / "src" / f"{name}.py", change), TINY[name])
    return cleaned(run_in(notebook, here), folder)


def outputs(notebook: nbformat.NotebookNode, code: str) -> list[nbformat.NotebookNode]:
    """The outputs of the one cell that contains ``code``."""
    (cell,) = [c for c in notebook.cells if c.cell_type == "code" and code in c.source]
    return list(cell.outputs)


def kinds(found: list[nbformat.NotebookNode]) -> set[str]:
    return {kind for output in found for kind in output.get("data", {})}


def test_the_tour_runs_and_shows_its_first_picture_in_the_third_cell(run_in: Run, tmp_path: Path) -> None:
    notebook = run(run_in, "00_tour", tmp_path)
    written = [cell for cell in notebook.cells if cell.id != "injected-parameters"]
    assert "image/png" in kinds(written[2].outputs)
    assert "image/jpeg" in kinds(outputs(notebook, "StageView(model"))
    assert not any(o.output_type == "error" for c in notebook.cells for o in c.get("outputs", []))


def said(notebook: nbformat.NotebookNode) -> str:
    """Everything the cells wrote."""
    texts = [o.get("text", "") + o.get("data", {}).get("text/plain", "") for o in all_outputs(notebook)]
    return "\n".join(texts)


def all_outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize("name", [name for name in LESSONS if name != TRAINS])
def test_a_solved_lesson_passes_every_exercise(run_in: Run, name: str, tmp_path: Path) -> None:
    assert_solved(run(run_in, name, tmp_path, with_solutions), name)


def assert_solved(notebook: nbformat.NotebookNode, name: str) -> None:
    """All exercises pass, the functions are used in place of the lab's, and a picture comes early."""
    text = said(notebook)
    numbers = [number for number in EXERCISES if number.startswith(name[:2])]
    assert [f"✓ {number}" in text for number in numbers] == [True] * len(numbers), text
    assert "is used instead" not in text
    assert "is used here" in text
    written = [cell for cell in notebook.cells if cell.id != "injected-parameters"]
    assert "image/png" in kinds(written[2].outputs)


@pytest.mark.parametrize("name", LESSONS)
def test_the_committed_lesson_is_the_unanswered_one_and_runs_through(name: str) -> None:
    notebook = nbformat.read(notebooks_folder() / f"{name}.ipynb", as_version=4)
    text = said(notebook)
    assert not any(output.output_type == "error" for output in all_outputs(notebook))
    for number in (number for number in EXERCISES if number.startswith(name[:2])):
        assert f"○ {number}" in text
    assert "✓" not in text


def test_the_last_lesson_runs_on_a_tree_of_coco(run_in: Run, tmp_path: Path) -> None:
    """Annotations of COCO itself, with pictures of noise under them."""
    coco = tmp_path / "data" / "coco"
    (coco / "annotations").mkdir(parents=True)
    (coco / "val2017").mkdir()
    source = Path(__file__).parents[1] / "evaluate" / "coco_excerpt.json"
    (coco / "annotations" / "instances_val2017.json").write_text(source.read_text())
    for image in json.loads(source.read_text())["images"]:
        noise = np.random.default_rng(image["id"]).integers(0, 256, (image["height"], image["width"], 3))
        Image.fromarray(noise.astype(np.uint8)).save(coco / "val2017" / image["file_name"])
    text = said(run(run_in, "08_coco", tmp_path))
    assert "data/coco: 12 pictures, 24 classes" in text
    assert "is used instead" in text, "the handed-out copy runs to the end as well"


def test_the_ablation_is_trained_beside_it_and_found_again_after_a_restart(
    run_in: Run, tmp_path: Path
) -> None:
    write_kept(tmp_path / "results")
    notebook = run(run_in, TRAINS, tmp_path, with_solutions)
    assert_solved(notebook, TRAINS)
    tables = [
        o.data["text/markdown"]
        for c in notebook.cells
        for o in c.get("outputs", [])
        if o.get("data", {}).get("text/markdown", "").startswith("| rung")
    ]
    assert [table.count("\n") for table in tables] == [2, 3, 4, 5]
    for code in (
        "plot_ladder(results)",
        "plot_stage_ap(results)",
        "plot_losses(",
        "compare_rungs(sample",
        "plot_seeds(results",
        "plot_situations(report",
    ):
        assert "image/png" in kinds(outputs(notebook, code)), code
    assert "Mask information flow, 5 seeds: +2.10 to +2.98, better" in said(notebook)
    runs = tmp_path / "runs" / "ablation_scenes_tiny"
    assert (runs / "process.log").is_file(), "a process of its own has trained"
    checkpoints = sorted(runs.glob("*/checkpoint.safetensors"))
    assert len(checkpoints) == 4
    before = [path.stat().st_mtime_ns for path in (*checkpoints, runs / "process.log")]
    # After a restart the cells that train find their runs; the figures would only take time.
    needed = ("size =", "open_ladder(", "train_beside(ladder", "finished_rung(ladder")
    notebook.cells = [
        c for c in notebook.cells if c.cell_type == "code" and any(n in c.source for n in needed)
    ]
    for cell in notebook.cells:
        cell.outputs, cell.execution_count = [], None
    execute(notebook, tmp_path / "notebooks", timeout=300)
    assert [path.stat().st_mtime_ns for path in (*checkpoints, runs / "process.log")] == before


@pytest.mark.parametrize("name", sorted(TINY))
def test_committed_pictures_are_there_for_a_reader_without_a_kernel(name: str) -> None:
    notebook = nbformat.read(notebooks_folder() / f"{name}.ipynb", as_version=4)
    shown = [o for c in notebook.cells for o in c.get("outputs", [])]
    assert "image/png" in kinds(shown)
    # A live view leaves its picture where there is no kernel; these lessons have none, or the explorer alone.
    assert "image/jpeg" in kinds(shown) or name in ("01_data", "08_coco", "07_own_data")
    assert not any("widget-view" in kind for kind in kinds(shown))
