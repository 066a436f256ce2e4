"""Student copy, solution copy and otter assignment from one source."""

import contextlib
import io
import shutil
from pathlib import Path

import nbformat
import pytest

from htc_lab.cli import main
from htc_lab.course.copies import STUB, build_copies, for_students, solution_lines, with_solutions
from htc_lab.course.exercises import EXERCISES
from htc_lab.course.grading.grade import grade_folder
from htc_lab.course.notebooks import as_written, notebooks_folder, sources, to_notebook
from htc_lab.errors import InputError

CELL = '''def fuse(x, previous, flow):
    """F of eq. 4."""
    ### BEGIN SOLUTION
    if previous is None:
        return x
    return x + flow(previous)
    ### END SOLUTION


check("04.2")'''

SOURCE = f"""# %% [markdown]
# ### Exercise 04.2

# %% tags=["exercise"]
{CELL}

# %%
print("after")
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "src" / "04_lesson.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    return path


def test_students_get_a_stub_and_nothing_of_the_solution() -> None:
    text = for_students(CELL)
    assert text == CELL.split("    ### BEGIN")[0] + f"    {STUB}\n\n\n" + 'check("04.2")'
    assert "SOLUTION" not in with_solutions(CELL)
    assert solution_lines(CELL) == ["if previous is None:", "return x", "return x + flow(previous)"]


@pytest.mark.parametrize(
    "text", ["### BEGIN SOLUTION\nx = 1", "x\n### END SOLUTION", f"{CELL}\n### END SOLUTION"]
)
def test_markers_come_in_pairs(text: str) -> None:
    with pytest.raises(InputError, match="without"):
        for_students(text)


def test_three_copies_are_written_and_replaced_but_nothing_else(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "course"
    lessons = {"04_lesson": to_notebook(source, as_written)}
    files = build_copies(lessons, out)
    assert [str(file.relative_to(out)) for file in files] == [
        "otter/04_lesson/04_lesson.ipynb",
        "solutions/04_lesson.ipynb",
        "student/04_lesson.ipynb",
    ]
    assert build_copies(lessons, out) == files
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="contains more than an earlier build"):
        build_copies(lessons, out)
    assert (out / "notes.txt").read_text() == "mine"


def test_an_exercise_cell_names_an_exercise_that_exists(source: Path, tmp_path: Path) -> None:
    source.write_text(SOURCE.replace('check("04.2")', 'check("04.9")'))
    with pytest.raises(InputError, match="the number of an existing exercise"):
        build_copies({"04_lesson": to_notebook(source, as_written)}, tmp_path / "course")
    assert not (tmp_path / "course").exists()


def test_the_otter_notebook_has_its_blocks_in_order(source: Path, tmp_path: Path) -> None:
    build_copies({"04_lesson": to_notebook(source, as_written)}, tmp_path / "course")
    cells = nbformat.read(tmp_path / "course/otter/04_lesson/04_lesson.ipynb", as_version=4).cells
    marks = [cell.source.split("\n")[0] for cell in cells if cell.cell_type == "raw"]
    assert marks == [
        "# ASSIGNMENT CONFIG",
        "# BEGIN QUESTION",
        "# BEGIN SOLUTION",
        "# END SOLUTION",
        "# BEGIN TESTS",
        "# END TESTS",
        "# END QUESTION",
    ]
    assert "name: q04_2\npoints: 2" in cells[1].source
    tests = [cell for cell in cells if "seeds=" in cell.source]
    assert [cell.source.startswith("# HIDDEN") for cell in tests] == [False, True]
    for cell in tests:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(cell.source, {"fuse": EXERCISES["04.2"].reference})
        assert cell.outputs[0].text == said.getvalue() != ""


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("built") / "course"
    main(["course", "build", "--out", str(out)])
    return out


def test_no_line_of_any_solution_is_in_the_student_tree(course: Path) -> None:
    handed_out = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((course / "student").rglob("*.*"))
    )
    solved = "\n".join(
        path.read_text(encoding="utf-8") for path in sorted((course / "solutions").rglob("*.*"))
    )
    lines = set()
    for source in sources(notebooks_folder()):
        for cell in to_notebook(source, as_written).cells:
            if cell.cell_type == "code":
                lines |= {line for line in solution_lines(cell.source) if len(line) > 12}
    assert len(lines) > 30
    for line in lines:
        quoted = line.replace("\\", "\\\\").replace('"', '\\"')
        assert quoted not in handed_out, line
        assert quoted in solved, line
    assert "SOLUTION" not in handed_out + solved


def test_every_exercise_stands_in_its_lesson_once(course: Path) -> None:
    for number, exercise in EXERCISES.items():
        (path,) = (course / "student").glob(f"{number[:2]}_*.ipynb")
        cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
        (cell,) = [text for text in cells if f'\ncheck("{number}")' in text]
        assert f"def {exercise.name}(" in cell
        assert STUB in cell
        assert '"""' in cell, "a stub says what its arguments are"


def test_the_solutions_have_all_points_and_the_handed_out_copies_none(course: Path, tmp_path: Path) -> None:
    for name, copies in (("ann", "solutions"), ("ben", "student")):
        shutil.copytree(course / copies, tmp_path / name)
    ann, ben = grade_folder(tmp_path)
    assert [str(verdict) for verdict in ann.verdicts.values() if not verdict.passed] == []
    assert list(ann.verdicts) == list(EXERCISES)
    assert {verdict.status for verdict in ben.verdicts.values()} == {"not answered"}
    assert ann.remark == ben.remark == ""
