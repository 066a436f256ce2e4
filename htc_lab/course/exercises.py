"""The exercises of the course, by number: what the student writes, what is right, and common mistakes."""

from htc_lab.course.exercise import Exercise
from htc_lab.course.lesson01.exercises import EXERCISES as LESSON_01
from htc_lab.course.lesson02.exercises import EXERCISES as LESSON_02
from htc_lab.course.lesson03.exercises import EXERCISES as LESSON_03
from htc_lab.course.lesson04.exercises import EXERCISES as LESSON_04
from htc_lab.course.lesson05.exercises import EXERCISES as LESSON_05
from htc_lab.course.lesson06.exercises import EXERCISES as LESSON_06
from htc_lab.course.lesson07.exercises import EXERCISES as LESSON_07
from htc_lab.course.lesson08.exercises import EXERCISES as LESSON_08

_LESSONS = (LESSON_01, LESSON_02, LESSON_03, LESSON_04, LESSON_05, LESSON_06, LESSON_07, LESSON_08)

EXERCISES: dict[str, Exercise] = {exercise.number: exercise for lesson in _LESSONS for exercise in lesson}
