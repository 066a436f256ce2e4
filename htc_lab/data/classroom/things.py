"""Outlines of the classroom scenes' things: concave, with holes, with thin parts.

A thing is a list of parts in unit coordinates (about -0.5..0.5, y downwards), painted in order. Proportions
and colours vary from object to object within the limits of the class.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from htc_lab.data.classroom.stuff import Array, Rng

SCENE_THINGS: tuple[str, ...] = ("boat", "kite", "starfish", "bicycle", "can", "wreath")

HOME: dict[str, str] = {
    "boat": "water",
    "kite": "sky",
    "starfish": "sand",
    "bicycle": "road",
    "can": "grass",
    "wreath": "wall",
}
"""The stuff on which an outline is the thing itself; anywhere else it is a decoy."""


@dataclass(frozen=True, eq=False)
class Part:
    """A filled polygon, or a line if ``width`` is given.

    Attributes:
        points: (n, 2) float, unit coordinates (x, y).
        colour: RGB, clipped to 0..255 when it is painted; None cuts a hole.
        width: width of a line, in unit coordinates; 0 fills the polygon.
        closed: whether a line returns to its start.
    """

    points: Array
    colour: Array | None
    width: float = 0.0
    closed: bool = False


def _tint(rng: Rng, *families: tuple[int, int, int], jitter: float = 12.0) -> Array:
    base = np.asarray(families[rng.integers(len(families))], dtype=np.float64)
    return base * rng.uniform(0.88, 1.1) + rng.normal(0.0, jitter, 3)


def _points(*pairs: tuple[float, float]) -> Array:
    return np.asarray(pairs, dtype=np.float64)


@lru_cache
def _turns(n: int) -> Array:
    return np.linspace(0.0, 2 * np.pi, n, endpoint=False)


@lru_cache
def _around(n: int) -> Array:
    return np.stack([np.cos(_turns(n)), np.sin(_turns(n))], axis=1)


@lru_cache
def _steps(start: float, stop: float, n: int) -> Array:
    return np.linspace(start, stop, n)


def _circle(x: float, y: float, radius: float, n: int = 40) -> Array:
    return radius * _around(n) + (x, y)


def boat(rng: Rng) -> list[Part]:
    """A crescent hull, a thin mast, a mainsail and sometimes a jib."""
    hull = _tint(rng, (150, 56, 44), (112, 70, 48), (178, 96, 52))
    sail = _tint(rng, (240, 232, 214), (236, 206, 160))
    deck, keel, mast = rng.uniform(0.10, 0.18), rng.uniform(0.38, 0.48), rng.uniform(-0.10, 0.08)
    along = _steps(-1.0, 1.0, 17)
    rim = np.stack([0.5 * along, deck + 0.10 * (1 - along**2)], axis=1)
    bottom = np.stack([0.5 * along[::-1], deck + (keel - deck) * (1 - np.abs(along[::-1]) ** 2.6)], axis=1)
    stripe = np.stack([0.47 * along, deck + 0.02 + 0.13 * (1 - along**2)], axis=1)
    boom = deck - rng.uniform(0.02, 0.06)
    parts = [
        Part(_points((mast, -0.5), (mast, deck + 0.12)), 0.55 * hull, width=0.045),
        Part(np.concatenate([rim, bottom]), hull),
        Part(stripe, 0.5 * hull + 120.0, width=0.03),
        Part(
            _points((mast + 0.05, -0.46), (mast + 0.05, boom), (mast + rng.uniform(0.26, 0.36), boom)), sail
        ),
    ]
    if rng.random() < 0.7:
        jib = _points((mast - 0.05, -0.36), (mast - 0.05, boom), (mast - rng.uniform(0.2, 0.3), boom))
        parts.append(Part(jib, 0.86 * sail))
    return parts


def kite(rng: Rng) -> list[Part]:
    """Four coloured sails and a thin waving tail with bows."""
    first = _tint(rng, (206, 60, 150), (214, 70, 90), (176, 66, 190))
    second = _tint(rng, (246, 204, 70), (250, 172, 60))
    wide, middle, foot = rng.uniform(0.24, 0.32), rng.uniform(-0.24, -0.14), rng.uniform(0.08, 0.16)
    top, left, right, low = (0.0, -0.5), (-wide, middle), (wide, middle), (0.0, foot)
    centre = (0.0, middle)
    down = _steps(0.0, 1.0, 22)
    swing = rng.uniform(0.05, 0.10) * np.sign(rng.random() - 0.5)
    tail = np.stack([swing * np.sin(2 * np.pi * 1.15 * down), foot + (0.48 - foot) * down], axis=1)
    parts = [
        Part(tail, 0.7 * first, width=0.035),
        Part(_points(top, centre, left), first),
        Part(_points(top, right, centre), second),
        Part(_points(left, centre, low), second * 0.9),
        Part(_points(centre, right, low), first * 0.9),
    ]
    for i in (9, 17):
        x, y = tail[i]
        parts.append(Part(_points((x - 0.08, y - 0.04), (x, y), (x - 0.08, y + 0.04)), second))
        parts.append(Part(_points((x + 0.08, y - 0.04), (x, y), (x + 0.08, y + 0.04)), second))
    return parts


def starfish(rng: Rng) -> list[Part]:
    """Five bent arms and a row of knobs along each."""
    body = _tint(rng, (214, 92, 50), (196, 66, 72), (226, 124, 60))
    inner, bend = rng.uniform(0.15, 0.21), rng.uniform(-0.25, 0.25)
    parts = []
    outline, knobs = [], []
    for arm in range(5):
        turn = 2 * np.pi * arm / 5 - np.pi / 2
        reach = 0.5 * rng.uniform(0.88, 1.0)
        for offset, radius in ((-0.5, inner), (-0.13, 0.80 * reach), (0.0, reach), (0.13, 0.80 * reach)):
            angle = turn + offset * (2 * np.pi / 5 if radius == inner else 1.0) + bend * radius
            outline.append((radius * math.cos(angle), radius * math.sin(angle)))
        knobs += [(r * math.cos(turn + bend * r), r * math.sin(turn + bend * r)) for r in (0.14, 0.24, 0.34)]
    parts.append(Part(_points(*outline), body))
    parts += [Part(_circle(x, y, 0.028, 8), 0.55 * body + 105.0) for x, y in [(0.0, 0.0), *knobs]]
    return parts


def bicycle(rng: Rng) -> list[Part]:
    """Two open wheels and a thin frame: mostly holes."""
    tyre = _tint(rng, (38, 38, 44), (56, 48, 46), jitter=6.0)
    frame = _tint(rng, (52, 110, 210), (40, 170, 180), (90, 80, 200))
    radius, apart = rng.uniform(0.19, 0.22), rng.uniform(0.27, 0.29)
    ground = 0.36 - radius
    back, front, pedal = (-apart, ground), (apart, ground), (-0.03, ground + 0.01)
    seat, head = (-0.12, -0.16), (0.17, -0.18)
    thin = rng.uniform(0.045, 0.06)
    return [
        Part(_circle(*back, radius - 0.02), tyre, width=0.055, closed=True),
        Part(_circle(*front, radius - 0.02), tyre, width=0.055, closed=True),
        Part(_points(back, pedal, head, seat, back), frame, width=thin),
        Part(_points(pedal, seat), frame, width=thin),
        Part(_points(front, head, (0.15, -0.30)), frame, width=thin),
        Part(_points((0.06, -0.32), (0.15, -0.30), (0.23, -0.33)), tyre, width=0.05),
        Part(_points((-0.13, -0.16), (-0.15, -0.24)), frame, width=thin),
        Part(_points((-0.24, -0.26), (-0.06, -0.26)), tyre, width=0.065),
    ]


def can(rng: Rng) -> list[Part]:
    """A watering can: a handle that leaves a hole, a long spout with a rose."""
    metal = _tint(rng, (60, 140, 160), (110, 130, 190), (70, 160, 200))
    top, wide = rng.uniform(-0.20, -0.12), rng.uniform(0.20, 0.24)
    body = _points((-wide + 0.05, top), (wide, top), (wide + 0.04, 0.36), (-wide, 0.36))
    arc = _steps(-0.5 * np.pi, 0.5 * np.pi, 14)
    grip = np.stack([wide - 0.02 + 0.24 * np.cos(arc), 0.08 + 0.17 * np.sin(arc)], axis=1)
    over = _steps(np.pi, 2 * np.pi, 14)
    bail = np.stack([0.03 + 0.17 * np.cos(over), top + 0.18 * np.sin(over)], axis=1)
    reach = rng.uniform(-0.24, -0.14)
    spout = _points((-wide + 0.03, 0.12), (-wide + 0.01, 0.28), (-0.44, reach + 0.02), (-0.38, reach - 0.02))
    rose = _points((-0.50, reach + 0.05), (-0.36, reach - 0.10), (-0.39, reach + 0.04))
    band = _points((-wide + 0.03, 0.02), (wide + 0.01, 0.02))
    return [
        Part(grip, 0.75 * metal, width=0.055),
        Part(bail, 0.75 * metal, width=0.05),
        Part(spout, 0.88 * metal),
        Part(rose, 0.7 * metal),
        Part(body, metal),
        Part(band, 0.6 * metal + 90.0, width=0.035),
    ]


def wreath(rng: Rng) -> list[Part]:
    """A leafy ring with a round hole, berries and a bow."""
    leaf = _tint(rng, (40, 108, 58), (62, 124, 50), (34, 92, 74))
    red = _tint(rng, (204, 40, 48), (220, 90, 60))
    turn = _turns(96)
    lobes, phase = rng.integers(11, 16), rng.uniform(0, 6)
    rim = 0.45 + 0.045 * np.sin(lobes * turn + phase)
    hole = rng.uniform(0.22, 0.28) + 0.015 * np.sin(lobes * turn)
    around = _around(len(turn))
    parts = [Part(rim[:, None] * around, leaf)]
    for angle in rng.uniform(0, 2 * np.pi, 9):
        x, y = 0.36 * math.cos(angle), 0.36 * math.sin(angle)
        parts.append(Part(_circle(x, y, 0.045, 10), red if rng.random() < 0.6 else 1.35 * leaf))
    parts.append(Part(hole[:, None] * around, None))
    for side in (-1.0, 1.0):
        parts.append(Part(_points((0.0, 0.36), (side * 0.17, 0.25), (side * 0.17, 0.46)), red))
    return parts


DRAW: dict[str, Callable[[Rng], list[Part]]] = {
    "boat": boat,
    "kite": kite,
    "starfish": starfish,
    "bicycle": bicycle,
    "can": can,
    "wreath": wreath,
}

TILT: dict[str, float] = {
    "boat": 0.14,
    "kite": 0.6,
    "starfish": np.pi,
    "bicycle": 0.12,
    "can": 0.2,
    "wreath": 0.3,
}
"""Largest rotation either way, radians."""
