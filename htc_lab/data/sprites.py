"""A thing's parts turned into pixels: colour, and how much of each pixel it covers."""

from dataclasses import dataclass

import cv2
import numpy as np

from htc_lab.data.stuff import Array, Rng
from htc_lab.data.things import DRAW, TILT, Part

_FRACTION_BITS = 4
_THINNEST = 1.35
"""Least width of a line in px: thinner ones would cover no pixel by half and leave the mask."""


@dataclass(frozen=True)
class Sprite:
    """One drawn object.

    Attributes:
        name: its class (or the class it looks like).
        colour: (h, w, 3) float32 RGB.
        cover: (h, w) float32 0..1; the object owns a pixel from 0.5 on.
    """

    name: str
    colour: Array
    cover: Array

    @property
    def mask(self) -> Array:
        """(h, w) bool."""
        return self.cover >= 0.5


def _placed(parts: list[Part], rng: Rng, name: str, length: float) -> tuple[list[Array], int, int, float]:
    """Parts' points in px of a patch that just holds them, its width and height, and px per unit."""
    angle, stretch = rng.uniform(-TILT[name], TILT[name]), rng.uniform(0.85, 1.18)
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, sin], [-sin, cos]]) * np.array([[flip * stretch], [1.0 / stretch]])
    points = np.concatenate([part.points for part in parts]) @ matrix
    low, high = points.min(axis=0), points.max(axis=0)
    scale = length / float((high - low).max())
    margin = 2.0 + 0.04 * length
    wide, tall = (int(np.ceil(v)) for v in (high - low) * scale + 2 * margin)
    ends = np.cumsum([len(part.points) for part in parts])[:-1]
    return np.split((points - low) * scale + margin, ends), wide, tall, scale


def draw_sprite(rng: Rng, name: str, length: float, light: float) -> Sprite:
    """Draw one object of class ``name``, its longer side about ``length`` px, lit from angle ``light``."""
    parts = DRAW[name](rng)
    placed, wide, tall, scale = _placed(parts, rng, name, length)
    fine = 4 if length < 32 else 3 if length < 64 else 2
    base = next(part.colour for part in parts if part.colour is not None)
    colour = np.empty((tall * fine, wide * fine, 3), dtype=np.uint8)
    cv2.rectangle(colour, (0, 0), (wide * fine, tall * fine), tuple(float(v) for v in base), cv2.FILLED)
    cover = np.zeros((tall * fine, wide * fine), dtype=np.uint8)
    for points, part in zip(placed, parts, strict=True):
        fixed = [np.round(points * (fine * (1 << _FRACTION_BITS))).astype(np.int32)]
        if part.colour is None:
            cv2.fillPoly(cover, fixed, 0, shift=_FRACTION_BITS)
            continue
        paint = tuple(min(max(float(v), 0.0), 255.0) for v in part.colour)
        if part.width > 0:
            thick = max(1, round(max(part.width * scale, _THINNEST) * fine))
            cv2.polylines(colour, fixed, part.closed, paint, thick, shift=_FRACTION_BITS)
            cv2.polylines(cover, fixed, part.closed, 255, thick, shift=_FRACTION_BITS)
        else:
            cv2.fillPoly(colour, fixed, paint, shift=_FRACTION_BITS)
            cv2.fillPoly(cover, fixed, 255, shift=_FRACTION_BITS)
    small = cv2.resize(colour, (wide, tall), interpolation=cv2.INTER_AREA).astype(np.float32)
    alpha = cv2.resize(cover, (wide, tall), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    across = np.linspace(-1, 1, wide, dtype=np.float32)[None, :]
    down = np.linspace(-1, 1, tall, dtype=np.float32)[:, None]
    lit = 1.0 + 0.16 * (np.float32(np.cos(light)) * across + np.float32(np.sin(light)) * down)
    return Sprite(name, small * lit[..., None], alpha)
