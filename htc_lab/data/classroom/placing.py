"""Where an object can stand in a classroom scene, and which objects hide which."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from htc_lab.data.classroom.sprites import Sprite
from htc_lab.data.classroom.stuff import SCENE_STUFF, Array, Rng

MIN_VISIBLE = 20
"""Objects with fewer visible px are removed from the scene."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A sprite at a position.

    Attributes:
        left, top: position of the sprite's patch in the image, px; may lie outside.
        decoy: whether it is a look-alike on the wrong stuff.
        stuff: name of the stuff it stands on.
    """

    sprite: Sprite
    left: int
    top: int
    decoy: bool
    stuff: str

    @property
    def foot(self) -> int:
        """The lowest row: nearer objects, which hide the others, have a greater one."""
        return self.top + self.sprite.cover.shape[0]


def window(placed: Placed, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the image that the patch covers, and the part of the patch that lies in the image."""
    tall, wide = placed.sprite.cover.shape
    y0, y1 = max(placed.top, 0), min(placed.top + tall, size)
    x0, x1 = max(placed.left, 0), min(placed.left + wide, size)
    y1, x1 = max(y1, y0), max(x1, x0)
    inner = (slice(y0 - placed.top, y1 - placed.top), slice(x0 - placed.left, x1 - placed.left))
    return (slice(y0, y1), slice(x0, x1)), inner


class Ground:
    """The stuff of a scene as objects see it: where it is, and how much of a box lies on it.

    Attributes:
        shares: share of the picture that each stuff covers, by its name.
        regions: (size, size) bool for each stuff, by its name.
    """

    def __init__(self, stuff: Array) -> None:
        """``stuff`` is (size, size) uint8, index into ``SCENE_STUFF``."""
        self.size = stuff.shape[0]
        counts = np.bincount(stuff.reshape(-1), minlength=len(SCENE_STUFF)) / stuff.size
        self.shares: dict[str, float] = dict(zip(SCENE_STUFF, counts.tolist(), strict=True))
        self.regions = {name: stuff == i for i, name in enumerate(SCENE_STUFF)}
        self._reach = self.size // 4 + 4
        self._totals: dict[str, Array] = {}

    def _inside(self, name: str, tall: int, wide: int, border: int) -> Array:
        """Pixels of ``name`` in each tall × wide box; boxes may reach ``border`` px outside the picture.

        Outside, the picture's outermost pixels repeat. Shape (size + 2 border - tall + 1, likewise), int32.
        """
        if name not in self._totals:
            around = (self._reach,) * 4
            region = self.regions[name].astype(np.uint8)
            self._totals[name] = cv2.integral(cv2.copyMakeBorder(region, *around, cv2.BORDER_REPLICATE))
        cut = slice(self._reach - border, self._reach + self.size + border + 1)
        total = self._totals[name][cut, cut]
        return total[tall:, wide:] - total[:-tall, wide:] - total[tall:, :-wide] + total[:-tall, :-wide]

    def find_places(
        self, rng: Rng, name: str, avoid: str | None, tall: int, wide: int, need: float, tries: int
    ) -> list[tuple[int, int]]:
        """Random (left, top) where at least ``need`` of a tall × wide px box lies on ``name``.

        Args:
            name: the stuff to stand on.
            avoid: stuff that the box must not touch, or None.
            need: share 0..1.
            tries: how many places to draw (the result is empty if there are none).
        """
        border = min(max(2, min(tall, wide) // 4), self._reach)
        if max(tall, wide) > self.size + 2 * border:
            return []
        good = self._inside(name, tall, wide, border) >= math.ceil(need * tall * wide - 1e-6)
        if avoid is not None:
            good &= self._inside(avoid, tall, wide, border) == 0
        spots = np.flatnonzero(good)
        if len(spots) == 0:
            return []
        chosen = spots[rng.integers(0, len(spots), tries)].tolist()
        return [(s % good.shape[1] - border, s // good.shape[1] - border) for s in chosen]


def hidden_share(placed: Placed, others: list[Placed], size: int) -> float:
    """The largest share that the nearer of two objects hides of the other, for this object and any other."""
    (rows, columns), inner = window(placed, size)
    own = placed.sprite.mask[inner]
    worst = 0.0
    for other in others:
        mask = other.sprite.mask
        tall, wide = mask.shape
        top, bottom = max(rows.start, other.top), min(rows.stop, other.top + tall)
        left, right = max(columns.start, other.left), min(columns.stop, other.left + wide)
        if top >= bottom or left >= right:
            continue
        here = own[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start]
        there = mask[top - other.top : bottom - other.top, left - other.left : right - other.left]
        common = np.count_nonzero(here & there)
        if common:
            behind = own if placed.foot < other.foot else mask[window(other, size)[1]]
            worst = max(worst, common / np.count_nonzero(behind))
    return worst


def visible_masks(objects: list[Placed], size: int) -> tuple[list[Placed], list[Array], list[float]]:
    """Remove objects that are hardly visible; return each remaining object's visible pixels.

    Args:
        objects: painted in this order, later ones over earlier ones.

    Returns:
        The objects that stay (same order), their visible masks ((size, size) bool) and the share of each
        one's in-image pixels that others hide (0..1).
    """
    taken = np.zeros((size, size), dtype=bool)
    kept: list[tuple[Placed, Array, float]] = []
    for placed in reversed(objects):
        outer, inner = window(placed, size)
        own = np.zeros((size, size), dtype=bool)
        own[outer] = placed.sprite.mask[inner]
        area = int(np.count_nonzero(own))
        seen = own & ~taken
        count = int(np.count_nonzero(seen))
        if count < MIN_VISIBLE or count < 0.2 * area or 2 * area < np.count_nonzero(placed.sprite.mask):
            continue
        taken |= own
        kept.append((placed, seen, 1.0 - count / area))
    kept.reverse()
    return [k[0] for k in kept], [k[1] for k in kept], [k[2] for k in kept]
