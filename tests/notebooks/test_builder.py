from pathlib import Path

import nbformat
import pytest

from htc_lab.course.notebooks import build, check, cleaned, main, sources, to_notebook, with_parameters
from htc_lab.course.working_folder import go_to_root
from htc_lab.errors import InputError

SOURCE = """# %% [markdown]
# # A lesson

# %% tags=["parameters"]
size = "quick"  # or "tiny"

# %%
print(size)

# %%
print(size)
"""
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notebooks" / "src").mkdir(parents=True)
    (tmp_path / "notebooks" / "src" / "00_lesson.py").write_text(SOURCE)
    return tmp_path / "notebooks"


def test_same_source_same_bytes(folder: Path) -> None:
    first = build(folder)[0].read_bytes()
    assert build(folder)[0].read_bytes() == first
    (folder / "00_lesson.ipynb").unlink()
    assert build(folder)[0].read_bytes() == first


def test_ids_are_different_and_stay_when_a_cell_is_put_between(folder: Path) -> None:
    source = folder / "src" / "00_lesson.py"
    before = [cell.id for cell in to_notebook(source).cells]
    assert len(set(before)) == 4
    source.write_text(SOURCE.replace("# %%\nprint", "# %%\nx = 1\n\n# %%\nprint", 1))
    after = [cell.id for cell in to_notebook(source).cells]
    assert [i for i in after if i in before] == before
    assert len(after) == 5


def test_parameters_are_set_after_their_cell(folder: Path) -> None:
    notebook = to_notebook(folder / "src" / "00_lesson.py")
    changed = with_parameters(notebook, {"size": "tiny"})
    assert changed.cells[2].source == "size = 'tiny'"
    assert len(notebook.cells) == 4
    nbformat.validate(changed)


def test_a_wrong_parameter_is_named(folder: Path) -> None:
    notebook = to_notebook(folder / "src" / "00_lesson.py")
    with pytest.raises(InputError, match="doesn't set siez"):
        with_parameters(notebook, {"siez": "tiny"})
    del notebook.cells[1]
    with pytest.raises(InputError, match="no cell is tagged 'parameters'"):
        with_parameters(notebook, {"size": "tiny"})


def test_executed_outputs_live_as_long_as_the_code(folder: Path) -> None:
    target = build(folder, run=True)[0]
    assert check(folder) == []
    printed = nbformat.read(target, as_version=4).cells[2].outputs[0].text
    assert printed == "quick\n"

    source = folder / "src" / "00_lesson.py"
    source.write_text(SOURCE.replace("A lesson", "Another lesson"))
    assert "differs from" in check(folder)[0]
    build(folder)
    assert check(folder) == []

    source.write_text(SOURCE.replace('"quick"', '"slow"'))
    build(folder)
    assert "was not executed" in check(folder)[0]


def test_check_names_what_is_missing_or_left_over(folder: Path) -> None:
    assert "is missing" in check(folder)[0]
    build(folder)
    (folder / "src" / "00_lesson.py").rename(folder / "src" / "01_lesson.py")
    assert "has no source" in check(folder)[0]


def test_check_finds_failures_and_paths_of_a_machine(folder: Path) -> None:
    target = build(folder, run=True)[0]
    notebook = nbformat.read(target, as_version=4)
    notebook.cells[2].outputs = [
        nbformat.v4.new_output("stream", name="stdout", text="see /home/ann/data and ./runs/tmp/x"),
        nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[]),
    ]
    nbformat.write(notebook, target)
    problems = " ".join(check(folder))
    assert "a cell failed: ValueError: no" in problems
    assert "/home/ann" in problems
    assert "runs/tmp" not in problems


def test_cleaning_drops_widgets_and_the_checkouts_path(tmp_path: Path) -> None:
    out = nbformat.v4.new_output
    bar = out("display_data", data={WIDGET: {"model_id": "1"}, "text/plain": "0%"})
    picture = out("display_data", data={WIDGET: {"model_id": "2"}, "image/jpeg": "abc", "text/plain": "View"})
    text = out("stream", name="stdout", text=f"{tmp_path}/data")
    cell = nbformat.v4.new_code_cell(
        "1", outputs=[bar, picture, text], metadata={"execution": {"iopub.status.busy": "2026-01-01"}}
    )
    notebook = cleaned(nbformat.v4.new_notebook(cells=[cell]), tmp_path)
    kept = notebook.cells[0].outputs
    assert [set(o.get("data", {})) for o in kept] == [{"image/jpeg", "text/plain"}, set()]
    assert kept[1].text == "./data"
    assert "execution" not in notebook.cells[0].metadata


def test_an_unknown_name_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="choose from 00_lesson"):
        sources(folder, ["07_lesson"])
    assert main(["build", "no_such_lesson"]) == 2


def test_a_notebook_works_from_the_checkouts_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert go_to_root() == tmp_path
    assert go_to_root() == tmp_path
