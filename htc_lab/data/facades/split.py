"""Which facade photographs are for training: those taken one after the other stay on one side.

Most photographs were published as two overlapping square crops, and the published split puts the two on
different sides for 79 of them. A person who walks down a street also takes the same house several times. So
whole runs of photographs are dealt out here, by their names, which say when they were taken or count up.
"""

import re
from collections.abc import Iterable

LONGEST_RUN = 12
"""Photographs; a longer run is cut, so that no side gets a whole evening."""

_SECONDS = 60
_NUMBERS = 2
_EVERY, _VAL = 5, 2

_TAKEN_AT = re.compile(r"(\d{8})_(\d\d)(\d\d)(\d\d)_\d{3}_R")
_COUNTED = re.compile(r"(IMG)_(\d{4})")


def _place(photo: str) -> tuple[str, int, int]:
    """The day or camera of a photograph, its place in it, and how far away the next one of its run may be."""
    if taken := _TAKEN_AT.fullmatch(photo):
        day, hours, minutes, seconds = taken.groups()
        return day, 3600 * int(hours) + 60 * int(minutes) + int(seconds), _SECONDS
    if counted := _COUNTED.fullmatch(photo):
        return counted[1], int(counted[2]), _NUMBERS
    raise ValueError(f"{photo!r} is not the name of a facade photograph")


def runs_of(photos: Iterable[str]) -> list[list[str]]:
    """Photographs in runs: at most 60 s or two numbers from one to the next, and at most 12 of them.

    Args:
        photos: names such as ``20230329_200451_667_R`` (date, time) or ``IMG_0718`` (number), in any order.

    Raises:
        ValueError: a name is neither.
    """
    runs: list[list[str]] = []
    for photo in sorted(photos):
        day, place, reach = _place(photo)
        if runs and len(runs[-1]) < LONGEST_RUN:
            last_day, last, _ = _place(runs[-1][-1])
            if day == last_day and place - last <= reach:
                runs[-1].append(photo)
                continue
        runs.append([photo])
    return runs


def split_of(photos: Iterable[str]) -> dict[str, str]:
    """ "train" or "val" for each photograph: the third of every five runs is val."""
    return {
        photo: "val" if i % _EVERY == _VAL else "train"
        for i, run in enumerate(runs_of(photos))
        for photo in run
    }
