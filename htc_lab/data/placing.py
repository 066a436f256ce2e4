"""Where an object can stand in a classroom scene, and who hides whom."""

from dataclasses import dataclass

import cv2
import numpy as np

from htc_lab.data.sprites import Sprite
from htc_lab.data.stuff import Array, Rng

MIN_VISIBLE = 20
"""Objects that show fewer px are taken out of the scene."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A sprite at a position.

    Attributes:
        left, top: px of the sprite's patch in the image; may lie outside.
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
        """Lowest row: nearer objects, which hide the others, have the greater one."""
        return self.top + self.sprite.cover.shape[0]


def window(placed: Placed, size: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """The part of the image that the patch covers, and the part of the patch that lies in the image."""
    tall, wide = placed.sprite.cover.shape
    y0, y1 = max(placed.top, 0), min(placed.top + tall, size)
    x0, x1 = max(placed.left, 0), min(placed.left + wide, size)
    y1, x1 = max(y1, y0), max(x1, x0)
    inner = (slice(y0 - placed.top, y1 - placed.top), slice(x0 - placed.left, x1 - placed.left))
    return (slice(y0, y1), slice(x0, x1)), inner


def _share(region: Array, tall: int, wide: int, border: int) -> Array:
    """Share of each tall × wide box that lies in ``region``; boxes may reach ``border`` px outside."""
    padded = cv2.copyMakeBorder(region.astype(np.uint8), border, border, border, border, cv2.BORDER_REPLICATE)
    if tall > padded.shape[0] or wide > padded.shape[1]:
        return np.zeros((0, 0), dtype=np.float32)
    total = cv2.integral(padded)
    inside = total[tall:, wide:] - total[:-tall, wide:] - total[tall:, :-wide] + total[:-tall, :-wide]
    return inside / np.float32(tall * wide)


def find_places(
    rng: Rng, region: Array, avoid: Array | None, tall: int, wide: int, need: float, tries: int
) -> list[tuple[int, int]]:
    """Random (left, top) where at least ``need`` of a tall × wide px box lies in ``region``.

    Args:
        region: (size, size) bool, the stuff to stand on.
        avoid: (size, size) bool that the box must not touch, or None.
        need: share 0..1.
        tries: how many places to draw (fewer where there are fewer).
    """
    border = max(2, min(tall, wide) // 4)
    good = _share(region, tall, wide, border) >= need
    if avoid is not None:
        good &= _share(avoid, tall, wide, border) == 0.0
    spots = np.flatnonzero(good)
    if len(spots) == 0:
        return []
    chosen = spots[rng.integers(0, len(spots), tries)]
    return [(int(s % good.shape[1]) - border, int(s // good.shape[1]) - border) for s in chosen]


def hidden_share(placed: Placed, others: list[Placed], size: int) -> float:
    """The larger share, over this object and each other one, that an overlap of the two takes away."""
    outer, inner = window(placed, size)
    own = np.zeros((size, size), dtype=bool)
    own[outer] = placed.sprite.mask[inner]
    area = max(int(own.sum()), 1)
    worst = 0.0
    for other in others:
        outer, inner = window(other, size)
        mask = other.sprite.mask[inner]
        common = int((own[outer] & mask).sum())
        if common:
            behind = area if placed.foot < other.foot else max(int(mask.sum()), 1)
            worst = max(worst, common / behind)
    return worst


def visible_masks(objects: list[Placed], size: int) -> tuple[list[Placed], list[Array], list[float]]:
    """Take out what hardly shows; give each object's visible pixels.

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
        area = int(own.sum())
        seen = own & ~taken
        count = int(seen.sum())
        if count < MIN_VISIBLE or count < 0.2 * area or 2 * area < int(placed.sprite.mask.sum()):
            continue
        taken |= own
        kept.append((placed, seen, 1.0 - count / area))
    kept.reverse()
    return [k[0] for k in kept], [k[1] for k in kept], [k[2] for k in kept]
