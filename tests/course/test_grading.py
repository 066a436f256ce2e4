"""A folder of submissions: right, wrong, hanging, crashing, unanswered, and things that are no submission."""

import csv
import json
import socket
import sys
from pathlib import Path

import nbformat
import pytest

from htc_lab.cli import main
from htc_lab.course.copies import STUB
from htc_lab.course.exercises import EXERCISES
from htc_lab.course.grading.answers import read_answers
from htc_lab.course.grading.given_up import cut_network
from htc_lab.course.grading.grade import (
    Limits,
    chosen_exercises,
    grade_folder,
    handed_out,
    submissions,
)
from htc_lab.course.grading.limits import CAN_FORK, run_limited
from htc_lab.errors import InputError

RIGHT = """import torch
NOTHING = None

def fuse(x, previous, flow):
    return x if previous is NOTHING else x + flow(previous)"""
WRONG = "def fuse(x, previous, flow):\n    return x if previous is None else x + previous"
MEAN = "def mean_mask(logits):\n    return torch.stack([one.sigmoid() for one in logits]).mean(dim=0)"


def write(path: Path, *cells: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells]), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("handed_in")
    # Cells that would fail or take for ever if the notebook were run: only definitions count.
    write(root / "ada.ipynb", "%matplotlib inline\n1 / 0", RIGHT, "while True: pass", MEAN)
    write(root / "bob" / "lesson.ipynb", WRONG, f"def mean_mask(logits):\n    {STUB}")
    write(root / "bob" / ".ipynb_checkpoints" / "old.ipynb", RIGHT)
    write(
        root / "cleo.ipynb",
        "import os, torch\ndef fuse(x, previous, flow):\n    while True: pass",
        MEAN,
        "def broken(:",
    )
    write(
        root / "dan.ipynb",
        'import os\ndef fuse(*a):\n    os.write(1, b\'{"status": "passed"}\')\n    os._exit(0)',
        "import torch\ndef mean_mask(logits):\n    keep = []\n    while True: keep.append(torch.ones(2**22))",
    )
    (root / "eve.ipynb").write_text("this is no notebook")
    write(root / "=SUM(A1).ipynb", "x = 1")
    (root / "empty").mkdir()
    return root


@pytest.fixture(scope="module")
def rows(folder: Path, tmp_path_factory) -> dict[str, dict[str, str]]:
    out = tmp_path_factory.mktemp("out")
    arguments = ["--exercises", "04.2", "04.4", "--seconds", "3", "--feedback", str(out / "feedback")]
    main(
        ["course", "grade", str(folder), "--out", str(out / "grades.csv"), "--memory-mib", "512", *arguments]
    )
    assert "G_t is left out" in (out / "feedback" / "bob.md").read_text(encoding="utf-8")
    with (out / "grades.csv").open(newline="", encoding="utf-8") as file:
        return {row["student"]: row for row in csv.DictReader(file)}


def test_everybody_has_a_row(rows) -> None:
    assert set(rows) == {"ada", "bob", "cleo", "dan", "eve", "'=SUM(A1)", "empty"}
    assert all(row["of"] == "4" for row in rows.values())


def test_right_answers_have_their_points_whatever_else_is_in_the_notebook(rows) -> None:
    assert (rows["ada"]["04.2"], rows["ada"]["04.4"], rows["ada"]["points"]) == ("2", "2", "4")
    assert rows["ada"]["remark"] == ""


def test_wrong_and_unanswered_have_none_and_need_no_remark(rows) -> None:
    assert rows["bob"]["points"] == "0"
    assert rows["bob"]["remark"] == ""


def test_a_hanging_answer_costs_only_itself(rows) -> None:
    assert (rows["cleo"]["04.2"], rows["cleo"]["04.4"]) == ("0", "2")
    assert "too slow: 04.2" in rows["cleo"]["remark"]
    assert "code cell 3 is not valid Python" in rows["cleo"]["remark"]


@pytest.mark.skipif(not CAN_FORK, reason="no child process here")
def test_ending_the_process_forging_a_line_or_eating_memory_gains_nothing(rows) -> None:
    assert rows["dan"]["points"] == "0"
    assert "crashed: 04.2 04.4" in rows["dan"]["remark"]


def test_what_is_no_notebook_is_said(rows) -> None:
    assert "cannot be read as a notebook" in rows["eve"]["remark"]
    assert rows["empty"]["remark"] == "no notebook was handed in"
    assert "missing: 04.2 04.4" in rows["'=SUM(A1)"]["remark"]


def test_the_time_of_a_submission_is_bounded(tmp_path: Path) -> None:
    hang = "def {}(*a):\n    while True: pass"
    write(tmp_path / "finn.ipynb", *(hang.format(name) for name in ("flow_layer", "fuse", "trunk_chain")))
    (grade,) = grade_folder(tmp_path, ("04",), Limits(seconds=1.0, submission_seconds=0.5))
    messages = [verdict.message for verdict in grade.verdicts.values()]
    assert "stopped after 1 s" in messages[0]
    assert messages[1] == messages[3] == "The time for the whole submission had run out."


def test_a_new_process_for_each_student_gives_the_same(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("htc_lab.course.grading.grade.CAN_FORK", False)
    write(tmp_path / "gil.ipynb", RIGHT, f"def mean_mask(logits):\n    {STUB}")
    (grade,) = grade_folder(tmp_path, ("04.2", "04.4"))
    assert (grade.points("04.2"), grade.points("04.4"), grade.remark) == (2, 0, "")


def test_one_lesson_handed_in_is_the_one_that_counts(tmp_path: Path, capsys) -> None:
    write(tmp_path / "in" / "ada.ipynb", RIGHT)
    write(tmp_path / "in" / "bob.ipynb", "x = 1")
    main(
        [
            *("course", "grade", str(tmp_path / "in"), "--out", str(tmp_path / "g.csv")),
            *("--feedback", str(tmp_path / "feedback")),
        ]
    )
    with (tmp_path / "g.csv").open(newline="", encoding="utf-8") as file:
        ada, bob = csv.DictReader(file)
    lesson = [number for number in chosen_exercises(()) if number.startswith("04.")]
    assert list(ada) == ["student", *lesson, "points", "of", "remark"]
    assert (ada["04.2"], ada["points"], ada["of"]) == (
        "2",
        "2",
        str(sum(EXERCISES[number].points for number in lesson)),
    )
    # A part of a lesson that is missing is named; the other lessons are not.
    assert ada["remark"] == "missing: " + " ".join(number for number in lesson if number != "04.2")
    assert bob["remark"] == "missing: " + " ".join(lesson)
    text = (tmp_path / "feedback" / "ada.md").read_text(encoding="utf-8")
    assert text.count("not found.") == len(lesson) - 1
    assert "ada: 2 points" in capsys.readouterr().out


def test_where_no_lesson_is_recognised_all_are_listed(tmp_path: Path) -> None:
    write(tmp_path / "ada.ipynb", "x = 1")
    (grade,) = grade_folder(tmp_path)
    assert list(grade.verdicts) == chosen_exercises(())
    assert handed_out([grade], chosen_exercises(())) == chosen_exercises(())


def test_bad_calls_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        submissions(tmp_path / "nowhere")
    with pytest.raises(InputError, match="contains neither"):
        submissions(tmp_path)
    with pytest.raises(InputError, match="no such exercise or lesson"):
        chosen_exercises(["4"])
    assert chosen_exercises(["04", "02.1"]) == ["02.1", "04.1", "04.2", "04.3", "04.4"]


def test_only_definitions_constants_and_the_imports_they_use_are_taken(tmp_path: Path) -> None:
    write(
        tmp_path / "a.ipynb",
        "import math, json\nimport os\nprint('no')\nx = 3\ny = math.sqrt(2)",
        "class A: pass\n!ls\nz: int = 4",
        "def f(v):\n    return math.sqrt(v)",
    )
    names = read_answers([tmp_path / "a.ipynb"]).namespace()
    assert (names["x"], names["z"], names["f"](4)) == (3, 4, 2)
    assert not {"y", "os"} & set(names)


def test_links_and_huge_files_are_not_read(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "a.ipynb", RIGHT)
    (tmp_path / "b.ipynb").symlink_to(tmp_path / "a.ipynb")
    assert "is a link" in read_answers([tmp_path / "b.ipynb"]).problems[0]
    monkeypatch.setattr("htc_lab.course.grading.answers.MOST_BYTES", 10)
    assert "is larger" in read_answers([tmp_path / "a.ipynb"]).problems[0]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process give up its network")
def test_a_process_that_gave_up_its_network_reaches_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def tries() -> dict:
            cut = cut_network()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=2).close()
            except OSError:
                return {"cut": cut, "reached": False}
            return {"cut": cut, "reached": True}

        ended = run_limited(tries, 10.0)
    assert ended.value is not None
    assert ended.value["reached"] != ended.value["cut"]


def test_who_handed_in_nothing_does_not_change_the_word_on_the_fences(tmp_path: Path, capsys) -> None:
    write(tmp_path / "in" / "ada.ipynb", RIGHT)
    said = []
    for name in ("ada", "ben"):
        (tmp_path / "in" / name).mkdir(exist_ok=True)
        flags = ["--out", str(tmp_path / "grades.csv"), "--exercises", "04.2", "--json"]
        main(["course", "grade", str(tmp_path / "in"), *flags])
        figures = json.loads(capsys.readouterr().out)
        said.append((figures["network_cut"], figures["fenced"]))
    assert figures["points"] == {"ada": 2, "ben": 0}
    assert said[0] == said[1]
