"""Textures of the classroom scenes' stuff: sky, water, grass, road, sand, wall.

Every painter returns a whole ``(size, size, 3)`` float32 picture in 0..255 RGB; ``scenery`` cuts the
regions out of them. Colours vary from scene to scene, so that no single colour gives a region away.
"""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

Array = np.ndarray
Rng = np.random.Generator

SCENE_STUFF: tuple[str, ...] = ("sky", "water", "grass", "road", "sand", "wall")


def value_noise(rng: Rng, size: int, rows: int, columns: int) -> Array:
    """Smooth noise: (size, size) float32 around 0, about -0.5..0.5, from a grid of random values."""
    grid = rng.random((rows, columns), dtype=np.float32) - np.float32(0.5)
    return cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)


def rgb(plane: Array) -> Array:
    """(h, w) repeated to (h, w, 3): arithmetic on that is far faster than with a broadcast last axis."""
    return cv2.merge((plane, plane, plane)) if plane.size else np.empty((*plane.shape, 3), plane.dtype)


def _colour(rng: Rng, choices: tuple[tuple[int, int, int], ...], jitter: float = 10.0) -> Array:
    base = np.asarray(choices[rng.integers(len(choices))], dtype=np.float32)
    return base + rng.normal(0.0, jitter, 3).astype(np.float32)


def _shade(colour: Array, amount: Array) -> Array:
    """A flat colour made lighter or darker pixel by pixel: (h, w, 3)."""
    light = 1.0 + amount
    return cv2.merge((colour[0] * light, colour[1] * light, colour[2] * light))


@lru_cache
def _rows(size: int) -> Array:
    return np.linspace(0.0, 1.0, size, dtype=np.float32)[:, None]


def paint_sky(rng: Rng, size: int) -> Array:
    """A vertical gradient with soft clouds."""
    palettes = (
        ((96, 156, 220), (196, 222, 240)),
        ((140, 170, 200), (205, 212, 218)),
        ((120, 125, 185), (246, 186, 140)),
        ((70, 130, 205), (170, 205, 235)),
    )
    top, bottom = (np.asarray(c, dtype=np.float32) for c in palettes[rng.integers(len(palettes))])
    down = np.clip(_rows(size) * 1.7, 0.0, 1.0)[..., None]
    picture = np.repeat(top * (1.0 - down) + bottom * down, size, axis=1)
    cloud = value_noise(rng, size, 7, 4) + 0.5 * value_noise(rng, size, 15, 9)
    cover = rgb(np.clip((cloud - rng.uniform(0.0, 0.35)) * 3.0, 0.0, 0.8))
    return picture * (1.0 - cover) + np.float32(244.0) * cover


def paint_water(rng: Rng, size: int) -> Array:
    """Ripples: noise stretched sideways, finer towards the horizon, with glints."""
    colour = _colour(rng, ((42, 104, 150), (52, 134, 150), (72, 104, 124), (36, 84, 128)), 6.0)
    ripple = value_noise(rng, size, size // 3, 6) + 0.8 * value_noise(rng, size, size // 6, 4)
    picture = _shade(colour, 0.34 * ripple + 0.18 * (0.5 - _rows(size)))
    glint = np.clip(ripple - 0.55, 0.0, 1.0)
    return picture + rgb(180.0 * glint)


def paint_grass(rng: Rng, size: int) -> Array:
    """Upright blades over patches of lighter and darker green."""
    colour = _colour(rng, ((78, 134, 58), (104, 148, 62), (134, 148, 74), (60, 116, 66)))
    blades = value_noise(rng, size, size // 4, size)
    patches = value_noise(rng, size, 6, 6)
    picture = _shade(colour, 0.36 * blades + 0.30 * patches)
    picture[..., 0] += 26.0 * patches
    return picture


def paint_road(rng: Rng, size: int) -> Array:
    """Asphalt: fine grain and worn patches. (Lane marks belong to the region and are painted there.)"""
    colour = _colour(rng, ((108, 108, 112), (88, 88, 94), (128, 124, 120)), 5.0)
    grain = rng.standard_normal((size, size), dtype=np.float32)
    worn = value_noise(rng, size, 5, 5)
    return _shade(colour, 0.055 * grain + 0.16 * worn)


def paint_sand(rng: Rng, size: int) -> Array:
    """Grains over low, slanting dunes."""
    colour = _colour(rng, ((222, 196, 144), (206, 180, 138), (192, 170, 132), (228, 206, 166)), 7.0)
    grain = rng.standard_normal((size, size), dtype=np.float32)
    dunes = value_noise(rng, size, 9, 4)
    across = np.arange(size, dtype=np.float32)[None, :] / size
    waves = np.sin(40.0 * (_rows(size) + 0.25 * across * rng.uniform(-1, 1) + 0.10 * dunes))
    return _shade(colour, 0.05 * grain + 0.12 * dunes + 0.035 * waves)


def paint_wall(rng: Rng, size: int) -> Array:
    """Rows of bricks or blocks, every second one shifted by half a brick."""
    colour = _colour(rng, ((164, 92, 72), (186, 160, 132), (146, 128, 118), (176, 116, 84)), 8.0)
    tall = rng.uniform(0.045, 0.075) * size
    wide = tall * rng.uniform(2.0, 2.8)
    rows, columns = np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32)
    course = np.floor(rows / tall).astype(np.int64)
    along = columns[None, :] + 0.5 * wide * (course % 2)[:, None]
    brick = np.floor(along / wide).astype(np.int64)
    tone = rng.uniform(-0.13, 0.13, (int(course.max()) + 1, int(brick.max()) + 1)).astype(np.float32)
    grain = rng.standard_normal((size, size), dtype=np.float32)
    picture = _shade(colour, tone[course[:, None], brick] + 0.03 * grain)
    joint = ((rows % tall)[:, None] < max(1.0, 0.16 * tall)) | (along % wide < max(1.0, 0.16 * tall))
    dark = 0.45 * picture + np.tile(0.55 * (np.float32(0.6) * colour + 74.0), size).reshape(1, size, 3)
    return np.where(rgb(joint.view(np.uint8)), dark, picture)


PAINTERS: dict[str, Callable[[Rng, int], Array]] = {
    "sky": paint_sky,
    "water": paint_water,
    "grass": paint_grass,
    "road": paint_road,
    "sand": paint_sand,
    "wall": paint_wall,
}
