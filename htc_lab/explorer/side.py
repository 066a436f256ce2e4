"""What is on the picture for one setting of the switches.

A side is made from a pack (:mod:`htc_lab.explorer.lookup`) or live (:mod:`htc_lab.explorer.stage_session`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

EDGE = 1e-6
"""A score this little under the threshold still counts as reaching it: the browser's numbers are rounded."""


@dataclass(frozen=True)
class ShownObject:
    """One object on the picture.

    Attributes:
        thing: its number, which its colour follows.
        label: its class.
        score: at the state's stage.
        box: (4,) float32, xyxy px: the proposal's at stage 0.
        mask: (H, W) bool: its pixels; None at stage 0.
        error: 0 if it found an object or the truth is not known; else what is wrong with it
            (:mod:`htc_lab.explorer.judge`).
    """

    thing: int
    label: int
    score: float
    box: np.ndarray
    mask: np.ndarray | None
    error: int


@dataclass(frozen=True)
class Side:
    """One side of the picture: one setting of the switches.

    Attributes:
        title: the ideas that are on, in words, and which of the two meanings of "off" it is.
        stage: 0 the proposals, 1 to T a stage, T + 1 the mean of the masks.
        objects: best first.
        true: how many objects there are; None if the truth isn't known.
        missed: the true objects that none of the shown ones found; empty at the proposals.
    """

    title: str
    stage: int
    objects: list[ShownObject]
    true: int | None
    missed: list[int]

    @property
    def false(self) -> int:
        """How many of the shown ones found no object."""
        return sum(each.error > 0 for each in self.objects)


def missed_by(match: Sequence[int], true: int) -> list[int]:
    """The true objects, numbered from 0 to ``true - 1``, that are not among those found."""
    found = set(match)
    return [k for k in range(true) if k not in found]


@dataclass(frozen=True)
class Difference:
    """What the objects of the picture gained and lost against another setting or stage.

    Attributes:
        against: what they are compared with, in words.
        gained: (H, W) bool: pixels of an object that its other mask does not have.
        lost: (H, W) bool: the reverse.
        gained_pixels, lost_pixels: how many; one that several objects gained counts for each.
    """

    against: str
    gained: np.ndarray
    lost: np.ndarray
    gained_pixels: int
    lost_pixels: int


def difference(mine: Side, theirs: Side, size: tuple[int, int], against: str) -> Difference:
    """Object by object.

    Args:
        mine, theirs: with masks.
        size: (height, width) px of the picture.
        against: what to call the other side.
    """
    empty = np.zeros(size, dtype=bool)
    here, there = (
        {each.thing: each.mask for each in side.objects if each.mask is not None} for side in (mine, theirs)
    )
    gained = [mask & ~there.get(thing, empty) for thing, mask in here.items()]
    lost = [mask & ~here.get(thing, empty) for thing, mask in there.items()]
    return Difference(
        against,
        np.logical_or.reduce([empty, *gained]),
        np.logical_or.reduce([empty, *lost]),
        sum(int(each.sum()) for each in gained),
        sum(int(each.sum()) for each in lost),
    )
