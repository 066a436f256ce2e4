"""Where the stuff of a classroom scene is: horizon, buildings, bands of ground, ponds and paths.

A region is a signed distance in pixels (positive inside), so that its border can be drawn smoothly while the
semantic map gets a hard one: a pixel belongs to the region that covers at least half of it.
"""

from functools import lru_cache

import numpy as np

from htc_lab.data.classroom.stuff import PAINTERS, SCENE_STUFF, Array, Rng, rgb

_GROUND = ("water", "grass", "sand", "road")


@lru_cache
def _grid(size: int) -> tuple[Array, Array, Array]:
    """Pixel centres' y and x, (size, size) float32 px each, and (size,) positions 0..1."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) + np.float32(0.5)
    return y, x, np.linspace(0.0, 1.0, size, dtype=np.float32)


def _wavy(rng: Rng, size: int, height: float) -> Array:
    """A wavy border: (size,) float32 offsets in px, at most about ``height``."""
    x = _grid(size)[2]
    offsets = np.zeros(size, dtype=np.float32)
    for frequency, share in ((1.0, 0.6), (2.7, 0.3), (7.0, 0.14)):
        turn = frequency * rng.uniform(0.6, 1.4)
        offsets += share * np.sin(2 * np.pi * (turn * x + rng.random())).astype(np.float32)
    return offsets * np.float32(height)


class Scenery:
    """A picture of stuff under construction.

    Attributes:
        picture: (size, size, 3) float32 RGB 0..255.
        stuff: (size, size) uint8, index into ``SCENE_STUFF``.
    """

    def __init__(self, rng: Rng, size: int) -> None:
        self.rng, self.size = rng, size
        self.picture = np.zeros((size, size, 3), dtype=np.float32)
        self.stuff = np.zeros((size, size), dtype=np.uint8)
        self.y, self.x, _ = _grid(size)

    def lay(self, name: str, inside: Array | None = None) -> None:
        """Paint stuff ``name`` where ``inside`` (size, size) is positive; everywhere if it is None."""
        texture = PAINTERS[name](self.rng, self.size)
        if inside is None:
            self.picture[:] = texture
            self.stuff[:] = SCENE_STUFF.index(name)
            return
        cover = np.clip(inside + 0.5, 0.0, 1.0)
        self.picture += (texture - self.picture) * rgb(cover)
        self.stuff[cover >= 0.5] = SCENE_STUFF.index(name)

    def darken(self, inside: Array, amount: float) -> None:
        """Multiply the picture by ``1 - amount`` where ``inside`` is 1 (soft edges allowed)."""
        self.picture *= rgb(1.0 - amount * np.clip(inside, 0.0, 1.0))


def _below(scene: Scenery, height: float, waviness: float) -> Array:
    """Everything below a wavy line at ``height`` (px from the top)."""
    tilt = scene.rng.normal(0.0, 0.03) * (scene.x - 0.5 * scene.size)
    return scene.y - height - tilt - _wavy(scene.rng, scene.size, waviness)[None, :]


def _buildings(scene: Scenery, horizon: float) -> Array:
    """One to three blocks standing on the horizon."""
    rng, size = scene.rng, scene.size
    inside = np.full((size, size), -np.inf, dtype=np.float32)
    whole = rng.random() < 0.35
    for _ in range(1 if whole else rng.integers(1, 4)):
        wide = size * (1.2 if whole else rng.uniform(0.3, 0.6))
        left = -0.1 * size if whole else rng.uniform(-0.1, 0.8) * size
        top = horizon * rng.uniform(-0.3, 0.45)
        block = np.minimum(np.minimum(scene.x - left, left + wide - scene.x), scene.y - top)
        inside = np.maximum(inside, block)
    return np.minimum(inside, horizon + 0.15 * size - scene.y)


def _pond(scene: Scenery, horizon: float) -> Array:
    """A roughly round patch on the ground, flattened by perspective."""
    rng, size = scene.rng, scene.size
    middle_x, middle_y = rng.uniform(0.15, 0.85) * size, rng.uniform(horizon + 0.25 * size, 0.92 * size)
    across, deep = rng.uniform(0.22, 0.42) * size, rng.uniform(0.10, 0.20) * size
    dx, dy = (scene.x - middle_x) / across, (scene.y - middle_y) / deep
    angle = np.arctan2(dy, dx)
    rim = 1.0 + 0.10 * np.sin(2 * angle + rng.uniform(0, 6)) + 0.06 * np.sin(5 * angle + rng.uniform(0, 6))
    return np.minimum((rim - np.hypot(dx, dy)) * deep, scene.y - horizon - 1.0)


def _path(scene: Scenery, horizon: float) -> tuple[Array, Array]:
    """A path from the lower edge to the horizon: inside, and the distance from its centre line (px)."""
    rng, size = scene.rng, scene.size
    near = np.clip((scene.y - horizon) / (size - horizon), 0.0, 1.0)
    start, end, bend = rng.uniform(0.15, 0.85), rng.uniform(0.2, 0.8), rng.uniform(-0.25, 0.25)
    middle = size * (end + (start - end) * near + bend * np.sin(np.pi * near))
    half = size * (0.02 + rng.uniform(0.16, 0.26) * near)
    away = np.abs(scene.x - middle)
    return np.minimum(half - away, scene.y - horizon), away


def _lane_marks(scene: Scenery, line: Array, along: Array, wide: Array | float) -> None:
    """White dashes on the road where ``line`` (px from the line) is below ``wide``."""
    road = scene.stuff == SCENE_STUFF.index("road")
    dash = np.sin(along) > 0.0
    cover = np.clip(wide - line + 0.5, 0.0, 1.0) * (road & dash)
    scene.picture += (np.float32(226.0) - scene.picture) * rgb(0.8 * cover)


def lay_out(rng: Rng, size: int) -> Scenery:
    """Draw a landscape of three to five regions, ``size`` × ``size`` px."""
    scene = Scenery(rng, size)
    horizon = rng.uniform(0.22, 0.45) * size
    scene.lay("sky")
    if rng.random() < 0.55:
        scene.lay("wall", _buildings(scene, horizon))
    grounds = [str(name) for name in rng.permutation(_GROUND)][: rng.integers(2, 4)]
    height = horizon
    for i, name in enumerate(grounds):
        waviness = 0.004 if name == "road" or i == 0 else rng.uniform(0.01, 0.05)
        scene.lay(name, _below(scene, height, waviness * size))
        if name == "road" and rng.random() < 0.7:
            line = height + rng.uniform(0.08, 0.16) * size
            _lane_marks(scene, np.abs(scene.y - line), scene.x * (40.0 / size), 0.007 * size)
        height += (size - height) * rng.uniform(0.35, 0.6)
    rest = [name for name in _GROUND if name not in grounds]
    if rng.random() < 0.6:
        name = rest[rng.integers(len(rest))]
        if name == "road" or (name == "sand" and rng.random() < 0.5):
            inside, away = _path(scene, horizon)
            scene.lay(name, inside)
            if name == "road":
                near = np.clip((scene.y - horizon) / size, 0.02, 1.0)
                _lane_marks(scene, away, 14.0 * np.log(near), 0.02 * size * near)
        else:
            pond = _pond(scene, horizon)
            scene.darken(np.clip((pond + 3.0) / 3.0, 0.0, 1.0), 0.2)
            scene.lay(name, pond)
    return scene
