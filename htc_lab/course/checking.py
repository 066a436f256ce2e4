"""``check("04.2")`` in a notebook, and whose function the cells below an exercise use."""

import dataclasses
import sys
from collections.abc import Callable
from typing import Any

from htc_lab.course.exercise import Answer, Exercise, Verdict, judge
from htc_lab.course.exercises import EXERCISES
from htc_lab.course.grading.limits import Ended, run_limited
from htc_lab.errors import InputError

SECONDS = 10.0
"""The time limit for all cases of an exercise together; the slowest reference takes a tenth of a second."""

NOTEBOOK_SEEDS = (0, 1)
GRADER_SEEDS = (101, 102, 103)


def exercise_of(number: str) -> Exercise:
    """The exercise with this number.

    Raises:
        InputError: no such exercise; the message lists those there are.
    """
    if number not in EXERCISES:
        raise InputError(f"exercise {number!r}: no such exercise; choose from {', '.join(EXERCISES)}")
    return EXERCISES[number]


def check(
    number: str,
    answer: Answer | None = None,
    *,
    seeds: tuple[int, ...] = NOTEBOOK_SEEDS,
    seconds: float = SECONDS,
) -> Verdict:
    """Try out an answer and report whether it is right or what is wrong, also when it hangs or crashes.

    Args:
        number: of the exercise, e.g. "04.2".
        answer: the function; default: the notebook's function with the exercise's name.
        seeds: determine the test cases, including their sizes.
        seconds: the answer is stopped after this time.

    Raises:
        InputError: no such exercise.
    """
    exercise = exercise_of(number)
    if answer is None:
        answer = _in_notebook(exercise)
    if answer is None:
        words = f"There is no function `{exercise.name}`: run the cell that defines it, and don't rename it."
        return Verdict(number, exercise.title, "missing", words)
    given = answer
    return limited_verdict(exercise, lambda: given, seeds, seconds)


def _in_notebook(exercise: Exercise) -> Answer | None:
    """The notebook's own function; its names, like a script's, live in ``__main__``."""
    found = vars(sys.modules["__main__"]).get(exercise.name)
    return found if callable(found) else None


def limited_verdict(
    exercise: Exercise,
    find: Callable[[], Answer | None],
    seeds: tuple[int, ...],
    seconds: float,
    prepare: Callable[[], None] | None = None,
) -> Verdict:
    """The verdict on the answer that ``find`` returns; finding and judging both run under the limits.

    Args:
        exercise: the one to judge.
        find: returns the function, or None if there is none; may run untrusted code.
        seeds: determine the test cases.
        seconds: the time limit.
        prepare: see :func:`htc_lab.course.grading.limits.run_limited`.
    """

    def work() -> dict[str, Any]:
        answer = find()
        if answer is None:
            words = f"There is no function `{exercise.name}`."
            return dataclasses.asdict(Verdict(exercise.number, exercise.title, "missing", words))
        return dataclasses.asdict(judge(exercise, answer, seeds))

    return _verdict_of(exercise, run_limited(work, seconds, prepare), seconds)


def _verdict_of(exercise: Exercise, ended: Ended, seconds: float) -> Verdict:
    if ended.how == "late":
        words = f"It was stopped after {seconds:g} s: is there a loop that never ends?"
        return Verdict(exercise.number, exercise.title, "too slow", words, exercise.hint)
    if ended.how == "died":
        words = f"It returned no result: {ended.words}."
        return Verdict(exercise.number, exercise.title, "crashed", words, exercise.hint)
    try:
        return Verdict(**(ended.value or {}))
    except TypeError:
        return Verdict(exercise.number, exercise.title, "crashed", "Its result could not be read.")


def yours_or_ours(number: str, answer: Answer | None = None) -> Answer:
    """The student's function if it passes its check, otherwise the lab's own; prints which.

    This way the cells after an exercise run and show their pictures whether or not it has been solved.

    Args:
        number: of the exercise.
        answer: as for :func:`check`.

    Raises:
        InputError: no such exercise.
    """
    exercise = exercise_of(number)
    answer = answer or _in_notebook(exercise)
    if answer is not None and check(number, answer).passed:
        print(f"{number}: your {exercise.name} is used here.")
        return answer
    print(f"{number} has not passed yet: the lab's own {exercise.name} is used instead.")
    return exercise.reference
