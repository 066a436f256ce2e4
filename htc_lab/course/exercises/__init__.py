"""The exercises of the course, by number: what the student writes, what is right, what often goes wrong."""

from htc_lab.course.exercise import Exercise
from htc_lab.course.exercises import (
    lesson01,
    lesson02,
    lesson03,
    lesson04,
    lesson05,
    lesson06,
    lesson07,
    lesson08,
)

_LESSONS = (lesson01, lesson02, lesson03, lesson04, lesson05, lesson06, lesson07, lesson08)

EXERCISES: dict[str, Exercise] = {
    exercise.number: exercise for lesson in _LESSONS for exercise in lesson.EXERCISES
}
