"""Every exercise: the reference passes, a stub is "not answered", each known mistake fails with its hint."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from htc_lab.course.checking import GRADER_SEEDS, NOTEBOOK_SEEDS
from htc_lab.course.exercise import Exercise, judge
from htc_lab.course.exercises import EXERCISES
from htc_lab.course.lesson01.exercises import box_of_mask, polygon_to_mask, rle_counts
from htc_lab.data.rle import decode_segmentation

ALL = [pytest.param(exercise, id=number) for number, exercise in EXERCISES.items()]
MISTAKES = [
    pytest.param(exercise, mistake, id=f"{number}-{i}")
    for number, exercise in EXERCISES.items()
    for i, mistake in enumerate(exercise.mistakes)
]


def test_there_are_enough_and_each_has_a_name_of_its_own() -> None:
    assert len(EXERCISES) >= 16
    assert {number[:2] for number in EXERCISES} == {f"{lesson:02d}" for lesson in range(1, 9)}
    for lesson in {number[:2] for number in EXERCISES}:
        names = [e.name for n, e in EXERCISES.items() if n.startswith(lesson)]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("exercise", ALL)
def test_the_reference_passes_with_all_seeds(exercise: Exercise) -> None:
    for seeds in (NOTEBOOK_SEEDS, GRADER_SEEDS):
        verdict = judge(exercise, exercise.reference, seeds)
        assert verdict.passed, str(verdict)


@pytest.mark.parametrize("exercise", ALL)
def test_a_stub_is_not_answered_yet(exercise: Exercise) -> None:
    def stub(*_):
        raise NotImplementedError

    verdict = judge(exercise, stub, NOTEBOOK_SEEDS)
    assert verdict.status == "not answered"
    assert exercise.hint in str(verdict)


@pytest.mark.parametrize("exercise", ALL)
def test_three_mistakes_are_known(exercise: Exercise) -> None:
    assert len(exercise.mistakes) >= 3
    assert len({mistake.hint for mistake in exercise.mistakes}) == len(exercise.mistakes)


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES)
@pytest.mark.parametrize("seeds", [NOTEBOOK_SEEDS, GRADER_SEEDS], ids=["notebook", "grader"])
def test_a_known_mistake_fails_and_is_named(exercise, mistake, seeds) -> None:
    verdict = judge(exercise, mistake.answer, seeds)
    assert verdict.status == "wrong", str(verdict)
    assert verdict.hint == mistake.hint, str(verdict)


@pytest.mark.parametrize("exercise", ALL)
def test_other_seeds_give_other_cases(exercise: Exercise) -> None:
    from htc_lab.course.compare import changed

    first, other = exercise.cases(NOTEBOOK_SEEDS[0]), exercise.cases(GRADER_SEEDS[0])
    differs = [
        changed(b.arguments, a.arguments) or b.words != a.words for a, b in zip(first, other, strict=True)
    ]
    assert any(differs)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 1)))
def test_the_reference_run_lengths_decode_to_the_mask(mask: np.ndarray) -> None:
    code = {"size": list(mask.shape), "counts": rle_counts(mask)}
    assert np.array_equal(decode_segmentation(code, *mask.shape), mask)


@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 9), st.integers(1, 9))
def test_the_reference_fills_a_rectangle_to_the_pixel(x: int, y: int, width: int, height: int) -> None:
    corners = [float(v) for v in (x, y, x + width, y, x + width, y + height, x, y + height)]
    wanted = np.zeros((20, 20), dtype=np.uint8)
    wanted[y : y + height, x : x + width] = 1
    assert np.array_equal(polygon_to_mask(corners, 20, 20), wanted)
    assert box_of_mask(wanted) == [x, y, x + width, y + height]
