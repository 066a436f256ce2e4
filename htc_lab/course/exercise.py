"""What an exercise is, and how an answer to it is judged."""

import copy
import linecache
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from htc_lab.course.compare import changed, first_difference
from htc_lab.wording import sentence

Status = Literal["passed", "wrong", "crashed", "too slow", "not answered", "missing"]

Answer = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One call of the student's function.

    Attributes:
        words: describes the case, e.g. "12 boxes, 3 objects, IoU 0.6".
        arguments: of the call.
    """

    words: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Mistake:
    """A common wrong answer: a student whose function returns the same values is told what the mistake is.

    Attributes:
        answer: the wrong function.
        hint: what the student is told.
    """

    answer: Answer
    hint: str


@dataclass(frozen=True)
class Exercise:
    """An exercise and everything needed to judge an answer.

    Attributes:
        number: lesson and place in it, e.g. "04.2".
        name: of the function the student writes.
        title: a few words.
        reference: the right function, called like the student's; the library's own where it has one.
        cases: returns the test cases for a seed. Their sizes depend on the seed, too; the grader's seeds
            are not the notebook's.
        hint: for a student who is stuck.
        mistakes: common wrong answers.
        points: what the exercise is worth.
    """

    number: str
    name: str
    title: str
    reference: Answer
    cases: Callable[[int], Sequence[Case]]
    hint: str
    mistakes: tuple[Mistake, ...]
    points: int = 2


@dataclass(frozen=True)
class Verdict:
    """The judgement of one answer.

    Attributes:
        number, title: of the exercise.
        status: how it went.
        message: what was observed; empty if the answer passed.
        hint: what to think about; may be empty.
    """

    number: str
    title: str
    status: Status
    message: str = ""
    hint: str = ""

    @property
    def passed(self) -> bool:
        """Whether the answer is right in all cases."""
        return self.status == "passed"

    def __str__(self) -> str:
        head = f"{_SIGNS[self.status]} {self.number} {self.title}: {_WORDS[self.status]}"
        lines = [
            head,
            f"  {self.message}" if self.message else "",
            f"  Hint: {self.hint}" if self.hint else "",
        ]
        return "\n".join(line for line in lines if line)

    __repr__ = __str__

    def _repr_markdown_(self) -> str:
        text = f"{_SIGNS[self.status]} **{self.number} {self.title}:** {_WORDS[self.status]}"
        text += f"  \n{self.message}" if self.message else ""
        return text + (f"  \n*Hint:* {self.hint}" if self.hint else "")


_MOST_WORDS = 600
"""Messages are cut at this length, since the text of an error may contain a whole tensor."""

_SIGNS: dict[Status, str] = {
    "passed": "✓",
    "wrong": "✗",
    "crashed": "✗",
    "too slow": "✗",
    "not answered": "○",
    "missing": "○",
}
_WORDS: dict[Status, str] = {
    "passed": "passed.",
    "wrong": "not yet right.",
    "crashed": "stopped with an error.",
    "too slow": "did not finish.",
    "not answered": "not answered yet.",
    "missing": "not found.",
}


def judge(exercise: Exercise, answer: Answer, seeds: Sequence[int]) -> Verdict:
    """Call the answer with the cases of all seeds and compare its results with the reference's.

    Nothing here limits the time or survives the end of the process: see
    :mod:`htc_lab.course.grading.limits`.
    """
    returned: list[tuple[Case, Any]] = []
    failed: tuple[Case, str] | None = None
    for case in (case for seed in seeds for case in exercise.cases(seed)):
        given = copy.deepcopy(case.arguments)
        try:
            got = answer(*given)
        except NotImplementedError:
            return _verdict(exercise, "not answered", "", exercise.hint)
        except Exception as error:
            return _verdict(exercise, "crashed", f"{_raised(error)} On {case.words}.", exercise.hint)
        returned.append((case, got))
        if failed is None:
            problem = first_difference(got, exercise.reference(*copy.deepcopy(case.arguments)))
            if problem is None and changed(given, case.arguments):
                problem = "the result is right, but an argument was changed in place; work on a copy"
            if problem is not None:
                failed = (case, problem)
    if failed is None:
        return _verdict(exercise, "passed")
    case, problem = failed
    return _verdict(
        exercise, "wrong", sentence(f"On {case.words}: {problem}"), _diagnosis(exercise, returned)
    )


def _verdict(exercise: Exercise, status: Status, message: str = "", hint: str = "") -> Verdict:
    return Verdict(exercise.number, exercise.title, status, message[:_MOST_WORDS], hint)


def _diagnosis(exercise: Exercise, returned: list[tuple[Case, Any]]) -> str:
    """The hint of the known mistake that gives exactly these values, or the exercise's own."""
    for mistake in exercise.mistakes:
        if all(_same(mistake.answer, case, got) for case, got in returned):
            return mistake.hint
    return exercise.hint


def _same(answer: Answer, case: Case, got: Any) -> bool:
    try:
        return first_difference(got, answer(*copy.deepcopy(case.arguments))) is None
    except Exception:
        # The known mistake fails on this case, so it isn't the one that was made.
        return False


def _raised(error: Exception) -> str:
    """The error, and the line of the student's own code it came from."""
    said = [line.strip() for line in str(error).splitlines() if line.strip()]
    # If the first line announces something, it follows on the next.
    said = said[: 2 if said and said[0].endswith(":") else 1]
    text = sentence(": ".join([type(error).__name__, *([" ".join(said)] if said else [])]))
    line = _line_of_answer(error.__traceback__)
    return f"{text} Your line: `{line}`." if line else text


def _line_of_answer(trace: TracebackType | None) -> str:
    """The innermost line outside Python's own and installed packages, skipping the call in this file."""
    lines = [
        (
            frame.f_code.co_filename,
            linecache.getline(frame.f_code.co_filename, number, frame.f_globals).strip(),
        )
        for frame, number in traceback.walk_tb(trace)
    ][1:]
    others = (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), str(Path(__file__).parents[1]))
    own = [line for name, line in lines if not name.startswith(others) and line]
    return own[-1] if own else ""
