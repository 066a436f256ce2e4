"""07: from the category ids of a file to the labels of a model."""

from collections.abc import Sequence
from typing import Any

from htc_lab.course.exercise import Case, Exercise, Mistake
from htc_lab.course.shared_draws import generator_of, whole


def labels_of(category_ids: Sequence[int], of_objects: Sequence[int]) -> list[int]:
    """The label 0..K-1 of each object: the index of its category in the file's list."""
    place = {category: label for label, category in enumerate(category_ids)}
    return [place[category] for category in of_objects]


def _label_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    cases = []
    for words, first in (("categories with gaps", 1), ("unsorted categories", 40)):
        ids = [first + 2 * i + whole(g, 0, 1) for i in range(whole(g, 4, 7))]
        if first > 1:
            ids = [*ids[2:], *ids[:2]]
        objects = [ids[whole(g, 0, len(ids) - 1)] for _ in range(whole(g, 6, 9))]
        cases.append(Case(f"{words}: {ids}", (ids, objects)))
    return [*cases, Case("a picture without objects", (ids, []))]


def _minus_one(category_ids: Sequence[int], of_objects: Sequence[int]) -> Any:
    return [category - 1 for category in of_objects]


def _by_number(category_ids: Sequence[int], of_objects: Sequence[int]) -> Any:
    return labels_of(sorted(category_ids), of_objects)


def _from_one(category_ids: Sequence[int], of_objects: Sequence[int]) -> Any:
    return [1 + label for label in labels_of(category_ids, of_objects)]


def _of_those_present(category_ids: Sequence[int], of_objects: Sequence[int]) -> Any:
    return labels_of(sorted(set(of_objects)), of_objects)


LABELS = Exercise(
    "07.1",
    "labels_of",
    "From category ids to labels",
    labels_of,
    _label_cases,
    "All you need is a dictionary from each id to its index in `category_ids` (use `enumerate`).",
    (
        Mistake(
            _minus_one,
            "You subtract 1. That only works for ids that run from 1 without gaps; COCO's run from 1 to 90, "
            "and 10 of them are missing.",
        ),
        Mistake(_from_one, "Your labels start at 1. There are K of them, and they run from 0 to K - 1."),
        Mistake(_by_number, "You sort the ids. A label is an index in the file's own list, in its order."),
        Mistake(
            _of_those_present,
            "You number only the classes that occur here. Then a label means a different class in every "
            "picture.",
        ),
    ),
)

EXERCISES = (LABELS,)
