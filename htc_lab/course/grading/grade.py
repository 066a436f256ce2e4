"""Grade a folder of submitted notebooks: one process and one row of a CSV file for each student.

What the isolation is. Each student has a process with a home, a working directory and an environment of its
own, and a time limit. On Linux each answer runs in a further child, with a time limit, a bound on memory
and on the size of files; no student's code runs in the grader itself. Where the kernel has seccomp and
Landlock (:mod:`htc_lab.course.grading.sandbox`), that child has no network, starts no processes, signals
none, reads nothing but Python and the libraries, and writes into its own folder alone. What it is not: a
proof against cheating. The answer runs in the process that judges it, so code that is written to forge a
verdict can.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from htc_lab.course.checking import GRADER_SEEDS, SECONDS
from htc_lab.course.exercise import Verdict
from htc_lab.course.exercises import EXERCISES
from htc_lab.course.grading.limits import CAN_FORK, run_limited
from htc_lab.course.grading.worker import grade_student
from htc_lab.errors import InputError
from htc_lab.files import write_atomically, write_text

_START_SECONDS = 120.0
"""For a fresh process to import torch, on a slow machine."""


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Attributes:
        seconds: for one exercise.
        submission_seconds: for all exercises of a student; those not finished by then count as too slow.
        memory_mib: for one exercise, on top of what the libraries need (Linux).
    """

    seconds: float = SECONDS
    submission_seconds: float = 120.0
    memory_mib: int = 1024


@dataclass(frozen=True)
class Grade:
    """How one student did.

    Attributes:
        student: from the name of the file or folder.
        verdicts: by exercise; one that is absent could not be judged.
        problems: what the lecturer should know besides, in the grader's own words.
        network_cut: whether the answers ran without network.
        fenced: whether files of others and other processes were out of their reach.
    """

    student: str
    verdicts: dict[str, Verdict]
    problems: tuple[str, ...]
    network_cut: bool
    fenced: bool = False

    @property
    def remark(self) -> str:
        """The problems, and the exercises that were not judged by their values; empty where all went well."""
        remarks = list(self.problems)
        for status in ("crashed", "too slow", "missing"):
            those = [number for number, verdict in self.verdicts.items() if verdict.status == status]
            remarks += [f"{status}: {' '.join(those)}"] if those else []
        return "; ".join(remarks)

    def points(self, number: str) -> int:
        """The points for one exercise: all or none."""
        verdict = self.verdicts.get(number)
        return EXERCISES[number].points if verdict is not None and verdict.passed else 0


def handed_out(grades: Sequence[Grade], numbers: Sequence[str]) -> list[str]:
    """Those of some exercises whose lesson was handed in by at least one student; all if no lesson was."""
    lessons = {
        number.split(".")[0]
        for grade in grades
        for number, verdict in grade.verdicts.items()
        if verdict.status != "missing"
    }
    return [number for number in numbers if not lessons or number.split(".")[0] in lessons]


def submissions(folder: Path) -> dict[str, list[Path]]:
    """The notebooks of each student: ``folder/NAME.ipynb``, or all notebooks under ``folder/NAME/``.

    Raises:
        InputError: no such folder, or no submission in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name the one that holds the submissions")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and not path.is_symlink():
            found.setdefault(path.name, []).extend(
                inner for inner in sorted(path.rglob("*.ipynb")) if ".ipynb_checkpoints" not in inner.parts
            )
        elif path.suffix == ".ipynb":
            found.setdefault(path.stem, []).append(path)
    if not found:
        raise InputError(f"{folder}: contains neither NAME.ipynb nor NAME/*.ipynb; put the submissions there")
    return found


def chosen_exercises(wanted: Sequence[str]) -> list[str]:
    """The numbers of the exercises asked for: whole lessons ("02") or single ones ("02.1"); if empty, all.

    Raises:
        InputError: a name matches no exercise.
    """
    for name in wanted:
        if not any(number == name or number.startswith(f"{name}.") for number in EXERCISES):
            raise InputError(
                f"--exercises {name}: no such exercise or lesson; choose from {', '.join(EXERCISES)}"
            )
    return [
        number
        for number in EXERCISES
        if not wanted or any(number == name or number.startswith(f"{name}.") for name in wanted)
    ]


def grade_one(student: str, paths: Sequence[Path], numbers: Sequence[str], limits: Limits) -> Grade:
    """Grade one student's notebooks in a process of its own."""
    order = {
        "paths": [str(Path(path).absolute()) for path in paths],
        "exercises": list(numbers),
        "seeds": GRADER_SEEDS,
        "seconds": limits.seconds,
        "submission_seconds": limits.submission_seconds,
        "memory_mib": limits.memory_mib,
    }
    if not paths:
        return Grade(student, {}, ("no notebook was handed in",), False)
    with tempfile.TemporaryDirectory(prefix="htc-lab-grading-", ignore_cleanup_errors=True) as home:
        run = _in_child if CAN_FORK else _in_new_process
        lines = run(order, Path(home), limits)
    return _grade_of(student, lines, numbers)


def _environment(home: Path) -> dict[str, str]:
    kept = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return environment | {
        "HOME": str(home),
        "TMPDIR": str(home),
        "USERPROFILE": str(home),
        "OMP_NUM_THREADS": "1",
    }


def _in_child(order: dict[str, Any], home: Path, limits: Limits) -> list[dict[str, Any]]:
    def prepare() -> None:
        environment = _environment(home)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(home)

    def work() -> dict[str, Any]:
        lines: list[dict[str, Any]] = []
        grade_student(order, lines.append)
        return {"lines": lines}

    ended = run_limited(work, _longest(limits), prepare)
    return ended.value["lines"] if ended.value else []


def _longest(limits: Limits) -> float:
    """An exercise that is running when the submission's time is up may still use its own time."""
    return _START_SECONDS + limits.submission_seconds + limits.seconds


def _in_new_process(order: dict[str, Any], home: Path, limits: Limits) -> list[dict[str, Any]]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "htc_lab.course.grading.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=home,
        env=_environment(home),
        text=True,
        start_new_session=True,
    )
    try:
        out, _ = process.communicate(json.dumps(order), timeout=_longest(limits))
    except subprocess.TimeoutExpired:
        _end(process)
        out, _ = process.communicate()
    finally:
        _end(process)
    return [line for line in map(_object, out.splitlines()) if line is not None]


def _end(process: subprocess.Popen[str]) -> None:
    """End the worker and every process in its group."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _grade_of(student: str, lines: list[dict[str, Any]], numbers: Sequence[str]) -> Grade:
    if not lines:
        return Grade(student, {}, ("the grading process gave no result",), False)
    head, verdicts = lines[0], {line["number"]: Verdict(**line) for line in lines[1:]}
    problems = list(head["problems"])
    if len(verdicts) < len(numbers):
        problems.append("the grading process was ended before all exercises were judged")
    return Grade(student, verdicts, tuple(problems), bool(head["network_cut"]), bool(head["fenced"]))


def grade_folder(folder: Path, exercises: Sequence[str] = (), limits: Limits | None = None) -> list[Grade]:
    """Grade all submissions in a folder, in the order of the students' names.

    Args:
        folder: see :func:`submissions`.
        exercises: lessons ("02") or exercises ("02.1") that count; default: all of the lessons handed in by
            anybody (:func:`handed_out`).
        limits: what a submission may use.

    Raises:
        InputError: there is no submission, or no such exercise.
    """
    numbers, given = chosen_exercises(exercises), limits or Limits()
    grades = [grade_one(student, paths, numbers, given) for student, paths in submissions(folder).items()]
    if exercises:
        return grades
    counted = set(handed_out(grades, numbers))
    return [
        replace(grade, verdicts={number: v for number, v in grade.verdicts.items() if number in counted})
        for grade in grades
    ]


def _cell(text: str) -> str:
    """The text, quoted if a spreadsheet would take it for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def write_csv(grades: Sequence[Grade], numbers: Sequence[str], path: Path) -> None:
    """Write a row for each student: points for each exercise, their sum, the maximum, and a remark."""
    most = sum(EXERCISES[number].points for number in numbers)

    def write(temporary: Path) -> None:
        # A student's name comes from a file name, which need not be valid text.
        with temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            rows = csv.writer(file)
            rows.writerow(["student", *numbers, "points", "of", "remark"])
            for grade in grades:
                points = [grade.points(number) for number in numbers]
                rows.writerow([_cell(grade.student), *points, sum(points), most, _cell(grade.remark)])

    write_atomically(path, write)


def write_feedback(grades: Sequence[Grade], folder: Path) -> None:
    """Write ``folder/STUDENT.md`` for each student: every verdict with its message and hint."""
    for grade in grades:
        text = "\n\n".join(str(verdict) for verdict in grade.verdicts.values())
        body = f"# {grade.student}\n\n```\n{text.replace('```', '')}\n```\n"
        body += f"\n{grade.remark}\n" if grade.remark else ""
        body = body.encode("utf-8", "backslashreplace").decode("utf-8")
        write_text(folder / f"{grade.student}.md", body)
