"""A thing's parts turned into pixels: colour, and how much of each pixel it covers."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from htc_lab.data.classroom.stuff import Array, Rng, rgb
from htc_lab.data.classroom.things import DRAW, TILT, Part

_FRACTION_BITS = 4
_THINNEST = 1.35
"""Smallest width of a line in px: a thinner one would not half-cover any pixel and drop out of the mask."""


@dataclass(frozen=True, eq=False)
class Outline:
    """An object's geometry, not yet drawn.

    Attributes:
        name: its class (or the class it looks like).
        parts: in painting order.
        points: (n, 2) px in a patch that just holds the object; the points of the parts one after the other.
        wide, tall: size of that patch, px.
        scale: px per unit of the parts.
    """

    name: str
    parts: list[Part]
    points: Array
    wide: int
    tall: int
    scale: float


@dataclass(frozen=True, eq=False)
class Sprite:
    """One drawn object.

    Attributes:
        name: its class (or the class it looks like).
        colour: (h, w, 3) float32 RGB.
        cover: (h, w) float32 0..1.
        mask: (h, w) bool, the pixels that belong to it: those it covers by half or more.
    """

    name: str
    colour: Array
    cover: Array
    mask: Array


def make_outline(rng: Rng, name: str, length: float) -> Outline:
    """One object of class ``name``, rotated and stretched at random, its longer side about ``length`` px."""
    parts = DRAW[name](rng)
    angle, stretch = rng.uniform(-TILT[name], TILT[name]), rng.uniform(0.85, 1.18)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.array([[flip * stretch * cos, flip * stretch * sin], [-sin / stretch, cos / stretch]])
    points = np.concatenate([part.points for part in parts]) @ matrix
    low = points.min(axis=0)
    extent = (points.max(axis=0) - low).tolist()
    scale = length / max(extent)
    margin = 2.0 + 0.04 * length
    wide, tall = (math.ceil(v * scale + 2 * margin) for v in extent)
    return Outline(name, parts, (points - low) * scale + margin, wide, tall, scale)


def draw_sprite(outline: Outline, light: float) -> Sprite:
    """Draw an object, lit from the angle ``light`` (radians, 0 to the right, downwards positive)."""
    wide, tall = outline.wide, outline.tall
    longest = max(wide, tall)
    fine = 4 if longest < 32 else 3 if longest < 56 else 2
    # Colour and cover are the channels of one canvas. Its background has the first part's colour, so that the
    # rim, where the object covers a pixel only partly, is not mixed with a different colour.
    canvas = np.empty((tall * fine, wide * fine, 4), dtype=np.uint8)
    ground = outline.parts[0].colour
    assert ground is not None, "an object starts with a painted part"
    cv2.rectangle(canvas, (0, 0), (wide * fine, tall * fine), (*ground.tolist(), 0), cv2.FILLED)
    all_fixed = (outline.points * (fine * (1 << _FRACTION_BITS)) + 0.5).astype(np.int32)
    end = 0
    for part in outline.parts:
        start, end = end, end + len(part.points)
        fixed = [all_fixed[start:end]]
        if part.colour is None:
            hole = np.zeros(canvas.shape[:2], dtype=np.uint8)
            cv2.fillPoly(hole, fixed, 1, shift=_FRACTION_BITS)
            canvas[..., 3] *= 1 - hole
            continue
        paint = (*part.colour.tolist(), 255)
        if part.width > 0:
            thick = max(1, round(max(part.width * outline.scale, _THINNEST) * fine))
            cv2.polylines(canvas, fixed, part.closed, paint, thick, shift=_FRACTION_BITS)
        else:
            cv2.fillPoly(canvas, fixed, paint, shift=_FRACTION_BITS)
    small = cv2.resize(canvas, (wide, tall), interpolation=cv2.INTER_AREA)
    colour, alpha = small[..., :3], small[..., 3]
    across = np.arange(wide, dtype=np.float32)[None, :] * np.float32(2.0 / wide) - 1.0
    down = np.arange(tall, dtype=np.float32)[:, None] * np.float32(2.0 / tall) - 1.0
    lit = 1.0 + 0.16 * (np.float32(np.cos(light)) * across + np.float32(np.sin(light)) * down)
    return Sprite(outline.name, colour * rgb(lit), alpha * np.float32(1 / 255), alpha >= 128)
