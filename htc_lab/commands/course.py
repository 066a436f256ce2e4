"""``htc-lab course``."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from htc_lab.commands.flags import say
from htc_lab.commands.numbers import LONGEST_WAIT, in_range
from htc_lab.errors import InputError
from htc_lab.files import require_room_for
from htc_lab.wording import counted


@dataclass(frozen=True)
class Build:
    """Write the copies of the lessons: for students, with solutions, and as otter-grader assignments."""

    out: Path = Path("course")
    """Folder to create; an earlier build in it is replaced."""
    lessons: tuple[str, ...] = ()
    """Which lessons, e.g. 02_plain_cascade; default: all."""
    json: bool = False
    """Print the files as one JSON object."""


@dataclass(frozen=True)
class Grade:
    """Grade a folder of submitted notebooks: NAME.ipynb, or a folder NAME with several."""

    folder: tyro.conf.Positional[Path]
    """The folder with the submissions."""
    out: Path = Path("grades.csv")
    """The table to write: a row for each student."""
    feedback: Path | None = None
    """Folder for one text per student, with every message and hint."""
    exercises: tuple[str, ...] = ()
    """Lessons (02) or exercises (02.1) that count; default: all of the lessons that anybody handed in."""
    seconds: float = 10.0
    """Time limit for one exercise."""
    submission_seconds: float = 120.0
    """Time limit for all exercises of one student."""
    memory_mib: int = 1024
    """Memory limit for one exercise, above what the libraries take; on Linux only."""
    json: bool = False
    """Print the points as one JSON object."""


def course(
    action: tyro.conf.OmitArgPrefixes[
        Annotated[Build, tyro.conf.subcommand("build")] | Annotated[Grade, tyro.conf.subcommand("grade")]
    ],
) -> dict[str, Any] | None:
    """Make the copies of the course, or grade what was handed in."""
    return _build(action) if isinstance(action, Build) else _grade(action)


def _build(action: Build) -> dict[str, Any] | None:
    from htc_lab.course.copies import build_copies
    from htc_lab.course.notebooks import as_written, notebooks_folder, sources, to_notebook

    found = sources(notebooks_folder(), list(action.lessons))
    files = build_copies({source.stem: to_notebook(source, as_written) for source in found}, action.out)
    for file in files:
        say(str(file), action.json)
    return {"files": [str(file) for file in files]} if action.json else None


def _grade(action: Grade) -> dict[str, Any] | None:
    from htc_lab.course.grading.grade import (
        Limits,
        chosen_exercises,
        grade_folder,
        handed_out,
        write_csv,
        write_feedback,
    )

    in_range("seconds", action.seconds, 1e-3, LONGEST_WAIT)
    in_range("submission-seconds", action.submission_seconds, 1e-3, LONGEST_WAIT)
    in_range("memory-mib", action.memory_mib, 1, 2**20)
    if action.out.suffix.lower() != ".csv":
        # A slip in the shell must not overwrite somebody's notebook with the table.
        raise InputError(f"--out {action.out}: must end in .csv")
    require_room_for(action.out)
    if action.feedback is not None:
        require_room_for(action.feedback / "NAME.md")
    numbers = chosen_exercises(action.exercises)
    limits = Limits(action.seconds, action.submission_seconds, action.memory_mib)
    grades = grade_folder(action.folder, action.exercises, limits)
    if not action.exercises:
        numbers = handed_out(grades, numbers)
    write_csv(grades, numbers, action.out)
    if action.feedback is not None:
        write_feedback(grades, action.feedback)
    points = {grade.student: sum(map(grade.points, numbers)) for grade in grades}
    for grade in grades:
        say(
            f"{grade.student}: {counted(points[grade.student], 'point')}  {grade.remark}".rstrip(),
            action.json,
        )
    # A student who handed in nothing has no answer that could run.
    ran = [grade for grade in grades if grade.verdicts]
    cut = all(grade.network_cut for grade in ran)
    fenced = all(grade.fenced for grade in ran)
    say(
        f"{action.out}: {counted(len(grades), 'student')}. "
        f"Network for the answers: {'cut' if cut else 'NOT cut'}; "
        f"files of others and other processes: {'out of reach' if fenced else 'NOT out of reach'}.",
        action.json,
    )
    figures = {"out": str(action.out), "points": points, "network_cut": cut, "fenced": fenced}
    return figures if action.json else None
