"""Grades one student: in a child of the grader, or as ``python -m htc_lab.course.grading.worker``.

Where the system can fork (see :mod:`htc_lab.course.grading.limits`), each answer runs in a child of this
process, so that no answer can tamper with the verdict on another.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from htc_lab.course.checking import limited_verdict
from htc_lab.course.exercise import Answer, Exercise, Verdict
from htc_lab.course.exercises import EXERCISES
from htc_lab.course.grading.answers import Answers, read_answers
from htc_lab.course.grading.given_up import cut_network, limit_resources, silence
from htc_lab.course.grading.limits import CAN_FORK, run_limited
from htc_lab.course.grading.sandbox import forbid_calls, forbid_files, library_folders

Say = Callable[[dict[str, Any]], None]


def grade_student(order: dict[str, Any], say: Say) -> None:
    """Read a student's notebooks and judge the exercises asked for.

    Args:
        order: ``paths`` of the notebooks, ``exercises`` by number, ``seeds``, and the limits ``seconds``,
            ``submission_seconds`` and ``memory_mib``.
        say: called first with what could not be read and whether the network is cut, then with each verdict
            as soon as it is known.
    """
    deadline = time.monotonic() + order["submission_seconds"]
    answers = read_answers([Path(path) for path in order["paths"]])
    answers.load_libraries()
    say({"problems": answers.problems, **_fences()})
    for number in order["exercises"]:
        exercise = EXERCISES[number]
        if time.monotonic() > deadline:
            words = "The time for the whole submission had run out."
            verdict = Verdict(number, exercise.title, "too slow", words)
        else:
            verdict = _verdict(exercise, answers, order)
        say(dataclasses.asdict(verdict))


def _fences() -> dict[str, bool]:
    """Which of the protections this system provides, tried out in a child."""
    ended = run_limited(_fence, 30.0) if CAN_FORK else None
    return (ended and ended.value) or {"network_cut": False, "fenced": False}


def _fence() -> dict[str, bool]:
    """Give up what an answer doesn't need: the network, other people's files, other processes."""
    cut = cut_network()
    files = forbid_files(library_folders(), [Path.cwd()])
    calls = forbid_calls()
    return {"network_cut": cut or calls, "fenced": files and calls}


def _verdict(exercise: Exercise, answers: Answers, order: dict[str, Any]) -> Verdict:
    def find() -> Answer | None:
        found = answers.namespace().get(exercise.name)
        return found if callable(found) else None

    def prepare() -> None:
        silence()
        limit_resources(order["memory_mib"])
        _fence()

    return limited_verdict(exercise, find, tuple(order["seeds"]), order["seconds"], prepare)


def main() -> None:
    """Read the order as a JSON object from standard input; print one JSON line per message."""
    grade_student(json.load(sys.stdin), lambda value: print(json.dumps(value), flush=True))


if __name__ == "__main__":
    main()
