"""Three copies of a lesson from one source: for students, with solutions, and as an otter-grader assignment.

In ``notebooks/src`` an exercise cell is tagged ``exercise``, has its solution between two marker lines, and
ends with ``check("NN.N")``. What is built:

    student/    solutions removed, a stub in their place
    solutions/  marker lines removed
    otter/      master notebooks in otter-grader's notebook format v1, one folder per lesson
"""

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from htc_lab.course.checking import GRADER_SEEDS, NOTEBOOK_SEEDS
from htc_lab.course.exercise import Verdict
from htc_lab.course.exercises import EXERCISES
from htc_lab.errors import InputError

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = 'raise NotImplementedError("your code here")'
EXERCISE = "exercise"

_CHECK = re.compile(r'^check\("(\d\d\.\d)"\)\s*$', re.MULTILINE)


def split_solutions(text: str, where: str) -> list[tuple[bool, list[str]]]:
    """The lines of a cell in alternating parts: outside a solution (False), inside one (True); no markers.

    Args:
        text: the source of the cell.
        where: the cell's name in error messages.

    Raises:
        InputError: the markers don't come in pairs.
    """
    parts: list[tuple[bool, list[str]]] = [(False, [])]
    for line in text.split("\n"):
        if line.strip() in (BEGIN, END):
            starts = line.strip() == BEGIN
            if starts == parts[-1][0]:
                raise InputError(f"{where}: '{line.strip()}' without its partner; markers come in pairs")
            parts.append((starts, []))
        else:
            parts[-1][1].append(line)
    if parts[-1][0]:
        raise InputError(f"{where}: '{BEGIN}' without '{END}'; markers come in pairs")
    return parts


def _indent(lines: list[str]) -> str:
    first = next((line for line in lines if line.strip()), "")
    return first[: len(first) - len(first.lstrip())]


def for_students(text: str, where: str = "cell") -> str:
    """The cell with a stub in place of each solution."""
    lines = [
        line
        for inside, part in split_solutions(text, where)
        for line in ([_indent(part) + STUB] if inside else part)
    ]
    return "\n".join(lines)


def with_solutions(text: str, where: str = "cell") -> str:
    """The cell with its solutions, without the marker lines."""
    return "\n".join(line for _, part in split_solutions(text, where) for line in part)


def solution_lines(text: str, where: str = "cell") -> list[str]:
    """The lines of all solutions in a cell, stripped and without blank lines."""
    parts = split_solutions(text, where)
    return [line.strip() for inside, part in parts if inside for line in part if line.strip()]


def exercise_number(cell: NotebookNode) -> str | None:
    """The number of the exercise in a cell, or None.

    Raises:
        InputError: the cell is tagged as an exercise, but checks none, or one that doesn't exist.
    """
    if EXERCISE not in cell.metadata.get("tags", ()):
        return None
    found = _CHECK.findall(cell.source)
    if len(found) != 1 or found[0] not in EXERCISES:
        raise InputError(
            f"exercise cell '{cell.source[:40]}...': needs one line check(\"NN.N\") with the number of an "
            "existing exercise"
        )
    return str(found[0])


def otter_assignment(notebook: NotebookNode, name: str) -> NotebookNode:
    """The otter-grader master notebook (format v1) of a lesson.

    Its tests call the lab's own checks: openly with the notebook's seeds, and hidden with the grader's.

    Args:
        notebook: the lesson, with the solutions and their markers.
        name: of the assignment.
    """
    config = f"# ASSIGNMENT CONFIG\nname: '{name}'\ninit_cell: true\nexport_cell: false\ncheck_all_cell: true"
    cells = [nbformat.v4.new_raw_cell(config)]
    for cell in notebook.cells:
        number = exercise_number(cell)
        if number is None:
            cells.append(cell)
            continue
        # What otter calls the prompt is the text before the exercise.
        prompt = cells.pop() if cells[-1].cell_type == "markdown" else nbformat.v4.new_markdown_cell(number)
        cells += _question(cell, prompt, number)
    for i, cell in enumerate(cells):
        cell.id = f"otter-{i:03d}"
    copy = nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)
    nbformat.validate(copy)
    return copy


def _question(cell: NotebookNode, prompt: NotebookNode, number: str) -> list[NotebookNode]:
    raw, code = nbformat.v4.new_raw_cell, nbformat.v4.new_code_cell
    exercise = EXERCISES[number]
    begin = f"# BEGIN QUESTION\nname: q{number.replace('.', '_')}\npoints: {exercise.points}"
    return [
        raw(begin),
        prompt,
        raw("# BEGIN SOLUTION"),
        code(_in_otter_marks(cell.source, number)),
        raw("# END SOLUTION"),
        raw("# BEGIN TESTS"),
        _test_cell(number, NOTEBOOK_SEEDS, ""),
        _test_cell(number, GRADER_SEEDS, "# HIDDEN\n"),
        raw("# END TESTS"),
        raw("# END QUESTION"),
    ]


def _test_cell(number: str, seeds: tuple[int, ...], head: str) -> NotebookNode:
    exercise = EXERCISES[number]
    text = (
        f"{head}from htc_lab.course.checking import check\n\n"
        f"print(check({number!r}, {exercise.name}, seeds={seeds}))"
    )
    # otter expects the output stored here, and shows what came instead: the verdict's message and hint.
    passed = f"{Verdict(number, exercise.title, 'passed')}\n"
    output = nbformat.v4.new_output("stream", name="stdout", text=passed)
    return nbformat.v4.new_code_cell(text, outputs=[output], execution_count=1)


def _in_otter_marks(text: str, number: str) -> str:
    lines: list[str] = []
    for inside, part in split_solutions(text, f"exercise {number}"):
        if inside:
            pad = _indent(part)
            lines += [f"{pad}# BEGIN SOLUTION NO PROMPT", *part, f"{pad}# END SOLUTION"]
            lines += [f'{pad}""" # BEGIN PROMPT', f"{pad}{STUB}", f'{pad}"""; # END PROMPT']
        else:
            lines += part
    return "\n".join(lines)


def build_copies(sources: dict[str, NotebookNode], out: Path) -> list[Path]:
    """Write the three copies of each lesson under ``out``: all of them or none.

    Args:
        sources: notebooks with solutions and markers, by name.
        out: folder; must either not exist or contain nothing but an earlier build.

    Returns:
        The files written.

    Raises:
        InputError: the folder contains something else, or markers are wrong.
    """
    out = Path(out)
    known = {"student", "solutions", "otter"}
    if out.exists() and (not out.is_dir() or {path.name for path in out.iterdir()} - known):
        raise InputError(f"{out}: contains more than an earlier build; name another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise InputError(f"{out}: cannot be created ({error.strerror}); name another folder") from None
    try:
        for name, notebook in sources.items():
            _write(building / "student" / f"{name}.ipynb", _changed(notebook, for_students, name))
            _write(building / "solutions" / f"{name}.ipynb", _changed(notebook, with_solutions, name))
            if any(exercise_number(cell) for cell in notebook.cells):
                _write(building / "otter" / name / f"{name}.ipynb", otter_assignment(_copy(notebook), name))
        if out.exists():
            shutil.rmtree(out)
        building.chmod(0o755)
        building.rename(out)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be written ({error.strerror}); free space there or name another folder"
        ) from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return sorted(out.rglob("*.ipynb"))


def _copy(notebook: NotebookNode) -> NotebookNode:
    copy: NotebookNode = nbformat.reads(nbformat.writes(notebook), as_version=4)
    return copy


def _changed(notebook: NotebookNode, change: Callable[[str, str], str], name: str) -> NotebookNode:
    copy = _copy(notebook)
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.source = change(cell.source, name)
    return copy


def _write(path: Path, notebook: NotebookNode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.validate(notebook)
    nbformat.write(notebook, path)
