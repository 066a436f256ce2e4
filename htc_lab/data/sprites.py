"""A thing's parts turned into pixels: colour, and how much of each pixel it covers."""

from dataclasses import dataclass

import cv2
import numpy as np

from htc_lab.data.stuff import Array, Rng
from htc_lab.data.things import DRAW, TILT, Part

_FRACTION_BITS = 4
_THINNEST = 1.35
"""Least width of a line in px: thinner ones would cover no pixel by half and leave the mask."""


@dataclass(frozen=True, eq=False)
class Outline:
    """An object's geometry, not yet drawn.

    Attributes:
        name: its class (or the class it looks like).
        parts: in painting order.
        points: (n, 2) px of a patch that just holds the object, the parts' one after the other.
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
        mask: (h, w) bool, the pixels it owns: those it covers by half or more.
    """

    name: str
    colour: Array
    cover: Array
    mask: Array


def make_outline(rng: Rng, name: str, length: float) -> Outline:
    """One object of class ``name``, turned and stretched at random, its longer side about ``length`` px."""
    parts = DRAW[name](rng)
    angle, stretch = rng.uniform(-TILT[name], TILT[name]), rng.uniform(0.85, 1.18)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[flip * stretch * cos, flip * stretch * sin], [-sin / stretch, cos / stretch]])
    points = np.concatenate([part.points for part in parts]) @ matrix
    low, high = points.min(axis=0), points.max(axis=0)
    scale = length / float((high - low).max())
    margin = 2.0 + 0.04 * length
    wide, tall = (int(np.ceil(v)) for v in (high - low) * scale + 2 * margin)
    return Outline(name, parts, (points - low) * scale + margin, wide, tall, scale)


def _paint(part: Part) -> tuple[float, ...]:
    return () if part.colour is None else tuple(min(max(float(v), 0.0), 255.0) for v in part.colour)


def draw_sprite(outline: Outline, light: float) -> Sprite:
    """Draw an object, lit from the angle ``light`` (radians, 0 to the right, downwards positive)."""
    wide, tall = outline.wide, outline.tall
    longest = max(wide, tall)
    fine = 4 if longest < 32 else 3 if longest < 56 else 2
    base = _paint(outline.parts[0])
    colour = np.empty((tall * fine, wide * fine, 3), dtype=np.uint8)
    cv2.rectangle(colour, (0, 0), (wide * fine, tall * fine), base, cv2.FILLED)
    cover = np.zeros((tall * fine, wide * fine), dtype=np.uint8)
    all_fixed = (outline.points * (fine * (1 << _FRACTION_BITS)) + 0.5).astype(np.int32)
    end = 0
    for part in outline.parts:
        start, end = end, end + len(part.points)
        fixed = [all_fixed[start:end]]
        if part.colour is None:
            cv2.fillPoly(cover, fixed, 0, shift=_FRACTION_BITS)
            continue
        paint = _paint(part)
        if part.width > 0:
            thick = max(1, round(max(part.width * outline.scale, _THINNEST) * fine))
            cv2.polylines(colour, fixed, part.closed, paint, thick, shift=_FRACTION_BITS)
            cv2.polylines(cover, fixed, part.closed, 255, thick, shift=_FRACTION_BITS)
        else:
            cv2.fillPoly(colour, fixed, paint, shift=_FRACTION_BITS)
            cv2.fillPoly(cover, fixed, 255, shift=_FRACTION_BITS)
    small = cv2.resize(colour, (wide, tall), interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(cover, (wide, tall), interpolation=cv2.INTER_AREA)
    across = np.arange(wide, dtype=np.float32)[None, :] * np.float32(2.0 / wide) - 1.0
    down = np.arange(tall, dtype=np.float32)[:, None] * np.float32(2.0 / tall) - 1.0
    lit = 1.0 + 0.16 * (np.float32(np.cos(light)) * across + np.float32(np.sin(light)) * down)
    return Sprite(outline.name, small * lit[..., None], alpha * np.float32(1 / 255), alpha >= 128)
