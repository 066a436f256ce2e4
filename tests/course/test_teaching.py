"""What the lecturer's guide says is so."""

import ast
import re
from pathlib import Path

import pytest

from htc_lab.cli import main
from htc_lab.course.exercises import EXERCISES
from htc_lab.course.notebooks import notebooks_folder, sources
from htc_lab.explorer.state import check_knobs

GUIDE = (Path(__file__).parents[2] / "docs" / "teaching.md").read_text(encoding="utf-8")


def test_the_table_lists_every_lesson_with_its_points() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \|$", GUIDE, re.MULTILINE))
    assert set(rows) == {source.stem for source in sources(notebooks_folder())}
    for name, exercises in rows.items():
        own = [exercise for number, exercise in EXERCISES.items() if number.startswith(name[:2])]
        points = sum(exercise.points for exercise in own)
        span = " to ".join(dict.fromkeys((own[0].number, own[-1].number))) if own else ""
        words = f"{span} ({points})" if own else "none"
        assert exercises == words, name


def test_the_knobs_to_hide_exist() -> None:
    lists = re.findall(r"^\| \d\d \| `(\[.*\])` \|$", GUIDE, re.MULTILINE)
    assert len(lists) == 4
    for text in lists:
        check_knobs(ast.literal_eval(text))


@pytest.mark.parametrize("action", ["build", "grade"])
def test_the_flags_it_names_exist(action: str, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["course", action, "--help"])
    shown = capsys.readouterr().out
    named = {"build": ["--out"], "grade": ["--feedback", "--exercises", "--seconds", "--submission-seconds"]}[
        action
    ]
    assert all(flag in shown for flag in named)
    assert all(flag in GUIDE for flag in named)
