"""Folders of submissions with anything in them: a row for each student, and the grader goes on."""

import csv
import json
import os
import random
from pathlib import Path
from typing import Any

import nbformat
import pytest

from htc_lab.course.exercises import EXERCISES
from htc_lab.course.grading.answers import read_answers
from htc_lab.course.grading.grade import Limits, grade_folder, write_csv, write_feedback
from tests.fuzz.mutate import broken_bytes, broken_tree
from tests.fuzz.outcome import fresh, outcome, times

RIGHT = (
    "import torch\ndef mean_mask(logits):\n    return torch.sigmoid(torch.stack(list(logits))).mean(dim=0)"
)
LIMITS = Limits(seconds=5.0, submission_seconds=20.0)


def notebook(*cells: str) -> dict[str, Any]:
    """As JSON."""
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    return json.loads(nbformat.writes(made))


def assert_read(path: Path) -> None:
    answers = outcome(lambda: read_answers([path]))
    assert answers is not None
    for problem in answers.problems:
        assert len(problem.splitlines()) == 1
    assert all(name in answers.texts for name, _ in answers.statements)


def test_broken_notebooks(tmp_path: Path) -> None:
    data = json.dumps(notebook(RIGHT, "x = 3", "def f(:")).encode()
    for seed in range(times(150)):
        assert_read(fresh(tmp_path, "a.ipynb", broken_bytes(data, random.Random(seed))))


def test_notebooks_with_odd_values(tmp_path: Path) -> None:
    sound = notebook(RIGHT, "x = 3", "# text")
    for seed in range(times(150)):
        text = json.dumps(broken_tree(sound, random.Random(seed)))
        assert_read(fresh(tmp_path, "a.ipynb", text.encode()))


_CELLS = [
    *("def f(" * 1000, "x = " + "(" * 500 + ")" * 500, "x = " + "-" * 20_000 + "1", "\x00", "'\ud800'"),
    *("x = 0x" + "f" * 100_000, "x = " + "9" * 5000, "%%bash\nrm -rf x", "!ls", "?", "\ufeffx = 1", "\r\r"),
    *(
        "from os import *",
        "from . import x",
        "from .. import y",
        "import a.b.c as d\nd",
        "async def f(): pass",
    ),
    *("x: int", "x = y = 1", "[x] = [1]", "class A(B): pass", "@gone\ndef f(): pass", "def f(x=1/0): pass"),
    *(
        "del x",
        "return 3",
        "yield",
        "await x",
        "def é(): pass",
        "lambda: 0",
        "import torch.gone\ntorch",
        "\f",
    ),
]


def test_odd_cells(tmp_path: Path) -> None:
    for cell in _CELLS:
        text = json.dumps(notebook(RIGHT, cell))
        path = fresh(tmp_path, "a.ipynb", text.encode())
        assert_read(path)
        found = outcome(lambda path=path: read_answers([path]).namespace())
        assert found is not None
        assert callable(found["mean_mask"]), cell


def test_a_folder_of_everything(tmp_path: Path) -> None:
    """One pass over files, links, pipes and names of every kind; the right answer still counts."""
    folder = tmp_path / "handed_in"
    good = json.dumps(notebook(RIGHT)).encode()
    fresh(folder, "anna.ipynb", good)
    fresh(folder, "empty.ipynb", b"")
    fresh(folder, "deep.ipynb", b"[" * 100_000)
    fresh(folder, "list.ipynb", b"[]")
    fresh(folder, "=cmd|x.ipynb", good)
    fresh(folder, "two\nlines.ipynb", good)
    fresh(folder, "<img src=x onerror=alert(1)>.ipynb", good)
    fresh(folder, "ben/a.ipynb", good)
    fresh(folder, "ben/.ipynb_checkpoints/a.ipynb", b"x")
    (folder / "dir.ipynb").mkdir()
    (folder / "ben" / "b.ipynb").mkdir()
    (folder / "gone.ipynb").symlink_to(tmp_path / "nowhere")
    (folder / "passwd.ipynb").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.ipynb")
    odd = os.fsencode(str(folder)) + b"/b\xff.ipynb"
    Path(os.fsdecode(odd)).write_bytes(good)
    for word, cell in {
        "exits": "import os\ndef mean_mask(logits): os._exit(0)",
        "raises": "def mean_mask(logits): raise SystemExit(3)",
        "interrupts": "def mean_mask(logits): raise KeyboardInterrupt",
        "recurses": "def mean_mask(logits): return mean_mask(logits)",
        "fills": "def mean_mask(logits): return b'x' * 10**12",
        "talks": "import os\ndef mean_mask(logits):\n    os.write(1, b'{}')\n    return 'x'",
        "odd": "class O:\n    def __getattr__(self, n): raise MemoryError\ndef mean_mask(x): return O()",
        "runs": "import htc_lab.__main__\ndef mean_mask(logits): return htc_lab",
        "default": "import sys\ndef mean_mask(logits, x=sys.exit(3)): return logits",
    }.items():
        fresh(folder, f"{word}.ipynb", json.dumps(notebook(cell)).encode())
    grades = outcome(lambda: grade_folder(folder, ("04.4",), LIMITS))
    assert grades is not None
    points = {grade.student: grade.points("04.4") for grade in grades}
    most = EXERCISES["04.4"].points
    right = {"anna", "=cmd|x", "ben", "two\nlines", "<img src=x onerror=alert(1)>", os.fsdecode(b"b\xff")}
    assert {student for student, got in points.items() if got} == right
    assert all(points[student] == most for student in right)
    assert all(grade.remark or grade.verdicts for grade in grades)
    table, feedback = tmp_path / "grades.csv", tmp_path / "feedback"
    outcome(lambda: write_csv(grades, ["04.4"], table), table)
    outcome(lambda: write_feedback(grades, feedback), feedback)
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(grades)
    assert not any(row["student"].startswith("=") for row in rows)
    assert len(list(feedback.iterdir())) == len(grades)


@pytest.mark.parametrize("wanted", ["", "9", "04.9", "4", "04.", "\n", "<b>", "04.1 "])
def test_exercises_that_are_none(wanted: str, tmp_path: Path) -> None:
    fresh(tmp_path, "a.ipynb", json.dumps(notebook(RIGHT)).encode())
    assert outcome(lambda: grade_folder(tmp_path, (wanted,), LIMITS), "--exercises") is None
