"""Classroom scenes: drawn pictures of the situations HTC is for, with exact instance and semantic truth.

Each thing class has a home among the stuff (``things.HOME``). The same outline on any other stuff is a
decoy, which is background: only the context tells them apart. Objects overlap, touch, have holes and thin
parts, and come in sizes from 8 px to most of a 128-px image. A scene depends on nothing but its seed.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from htc_lab.data.classroom.placing import MIN_VISIBLE, Ground, Placed, hidden_share, visible_masks, window
from htc_lab.data.classroom.scenery import Scenery, lay_out
from htc_lab.data.classroom.sprites import draw_sprite, make_outline
from htc_lab.data.classroom.stuff import SCENE_STUFF, Array, Rng, rgb
from htc_lab.data.classroom.things import HOME, SCENE_THINGS

__all__ = ["MIN_VISIBLE", "SCENE_STUFF", "SCENE_THINGS", "Decoy", "Scene", "SceneConfig", "make_scene"]

_LEAST_SHARE = {"boat": 0.06, "kite": 0.09, "starfish": 0.055, "bicycle": 0.10, "can": 0.075, "wreath": 0.065}
"""Smallest length of each class as a share of the image's side: any smaller and it can't be recognised."""


@dataclass(frozen=True)
class SceneConfig:
    """What the scenes are like.

    Attributes:
        size: height and width of the image, px.
        min_objects, max_objects: how many things to place (a crowded scene may hold fewer).
        decoys: look-alikes per thing.
        largest: longest side of an object as a share of ``size``.
        groups: probability that a thing brings along others of its class that touch it.
        blur: largest standard deviation of the blur, px in a 128 px image.
        noise: largest standard deviation of the noise, grey levels.
    """

    size: int = 128
    min_objects: int = 3
    max_objects: int = 8
    decoys: float = 0.4
    largest: float = 0.85
    groups: float = 0.35
    blur: float = 0.7
    noise: float = 5.0


@dataclass(frozen=True)
class Decoy:
    """A look-alike that is background.

    Attributes:
        looks_like: name of the class whose outline it has.
        stuff: name of the stuff it stands on.
        box: xyxy px around its visible pixels.
    """

    looks_like: str
    stuff: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture and its ground truth.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (n, 4) float32 xyxy px, tight around the masks.
        labels: (n,) int64, index into ``SCENE_THINGS``.
        masks: (n, H, W) uint8, 1 on the visible pixels.
        semantic: (H, W) uint8: things 0..K-1, stuff K..K+S-1.
        decoys: the look-alikes.
        attributes: for each object ``occluded`` (share hidden by others), ``thin``, ``small``, ``touching``
            (another object of its class is next to it), ``holes``, ``truncated`` (reaches the border).
    """

    image: Array
    boxes: Array
    labels: Array
    masks: Array
    semantic: Array
    decoys: tuple[Decoy, ...]
    attributes: tuple[dict[str, float | bool], ...]


def _length(rng: Rng, name: str, config: SceneConfig) -> float:
    """Longer side in px: log-triangular, so that every scale occurs and medium ones occur most."""
    low, high = np.log(_LEAST_SHARE[name]), np.log(config.largest)
    return float(np.exp(rng.triangular(low, np.log(0.42), high)) * config.size)


def _try_to_place(
    rng: Rng, ground: Ground, placed: list[Placed], name: str, length: float, light: float, decoy: bool
) -> Placed | None:
    """One object on its home stuff (a decoy: on any other), where it doesn't hide others too much."""
    on = HOME[name]
    if decoy:
        there = [stuff for stuff, share in ground.shares.items() if stuff != HOME[name] and share > 0.05]
        on = there[rng.integers(len(there))]
    outline = make_outline(rng, name, length)
    need, avoid = (0.85, HOME[name]) if decoy else (0.72, None)
    places = ground.find_places(rng, on, avoid, outline.tall, outline.wide, need, 6)
    if not places:
        return None
    sprite = draw_sprite(outline, light)
    most = 0.45 if rng.random() < 0.4 else 0.12
    for left, top in places:
        candidate = Placed(sprite, left, top, decoy, on)
        if hidden_share(candidate, placed, ground.size) <= most:
            return candidate
    return None


def _companion(rng: Rng, ground: Ground, placed: list[Placed], first: Placed, light: float) -> Placed | None:
    """Another object of the same class and about the same size that touches or overlaps ``first``."""
    tall, wide = first.sprite.cover.shape
    outline = make_outline(rng, first.sprite.name, max(tall, wide) * rng.uniform(0.75, 0.95))
    home = ground.regions[first.stuff]
    places = []
    for _ in range(6):
        side = 1 if rng.random() < 0.5 else -1
        left = first.left + side * int(wide * rng.uniform(0.55, 0.95))
        top = first.top + int(tall * rng.uniform(-0.25, 0.25))
        under = home[max(top, 0) : max(top + outline.tall, 0), max(left, 0) : max(left + outline.wide, 0)]
        enough = under.size >= 0.75 * outline.tall * outline.wide
        if enough and np.count_nonzero(under) / under.size >= 0.72:
            places.append((left, top))
    if not places:
        return None
    sprite = draw_sprite(outline, light)
    for left, top in places:
        candidate = Placed(sprite, left, top, False, first.stuff)
        if hidden_share(candidate, placed, ground.size) <= 0.5:
            return candidate
    return None


def _populate(rng: Rng, ground: Ground, config: SceneConfig, light: float) -> list[Placed]:
    """Things on their home stuff, groups, and decoys elsewhere; in painting order, far to near."""
    placed: list[Placed] = []
    at_home = [name for name in SCENE_THINGS if ground.shares[HOME[name]] > 0.04]
    wanted = int(rng.integers(config.min_objects, config.max_objects + 1))
    for _ in range(3 * wanted):
        if len(placed) >= wanted:
            break
        name = at_home[rng.integers(len(at_home))]
        length = _length(rng, name, config)
        found = _try_to_place(rng, ground, placed, name, length, light, decoy=False)
        if found is None:
            continue
        placed.append(found)
        if rng.random() < config.groups:
            for _ in range(min(int(rng.integers(1, 4)), wanted - len(placed))):
                other = _companion(rng, ground, placed, placed[-1], light)
                if other is not None:
                    placed.append(other)
    decoys = int(np.floor(config.decoys * len(placed) + rng.random()))
    for _ in range(4 * decoys):
        if sum(p.decoy for p in placed) >= decoys:
            break
        name = SCENE_THINGS[rng.integers(len(SCENE_THINGS))]
        found = _try_to_place(rng, ground, placed, name, 0.9 * _length(rng, name, config), light, decoy=True)
        if found is not None:
            placed.append(found)
    return sorted(placed, key=lambda p: p.foot)


def _paint(scenery: Scenery, objects: list[Placed], light: float) -> None:
    """Paint objects over the stuff, each with a soft shadow away from the light."""
    size, picture = scenery.size, scenery.picture
    for placed in objects:
        tall, wide = placed.sprite.cover.shape
        shift = 0.05 * max(tall, wide)
        fade = cv2.blur(placed.sprite.cover, (2 * int(shift) + 1, 2 * int(shift) + 1))
        left = placed.left - round(shift * float(np.cos(light)))
        shadow = Placed(placed.sprite, left, placed.top + round(shift), placed.decoy, placed.stuff)
        outer, inner = window(shadow, size)
        picture[outer] *= rgb(1.0 - (0.10 if placed.stuff == "sky" else 0.32) * fade[inner])
        outer, inner = window(placed, size)
        cover = rgb(placed.sprite.cover[inner])
        picture[outer] += (placed.sprite.colour[inner] - picture[outer]) * cover


def _finish(rng: Rng, picture: Array, config: SceneConfig) -> Array:
    """Apply light, tint, vignette, blur and noise; uint8."""
    size = config.size
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    slope = rng.normal(0.0, 0.07, 2).astype(np.float32)
    light = np.float32(rng.uniform(0.78, 1.12)) + slope[0] * axis[:, None] + slope[1] * axis[None, :]
    light = light - np.float32(rng.uniform(0.0, 0.14)) * (axis[:, None] ** 2 + axis[None, :] ** 2) / 2
    picture = picture * rgb(light)
    picture.reshape(size, 3 * size)[:] *= np.tile(rng.normal(1.0, 0.03, 3).astype(np.float32), size)
    spread = rng.uniform(0.0, config.blur) * size / 128
    if spread > 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), spread)
    grain = rng.standard_normal(picture.shape, dtype=np.float32)
    picture += np.float32(rng.uniform(0.0, config.noise)) * grain
    picture += 0.5
    return np.clip(picture, 0, 255, out=picture).astype(np.uint8)


def _attributes(
    objects: list[Placed], masks: list[Array], hidden: list[float]
) -> list[dict[str, float | bool]]:
    """See ``Scene.attributes``."""
    square = np.ones((3, 3), dtype=np.uint8)
    rows = []
    for i, (placed, mask) in enumerate(zip(objects, masks, strict=True)):
        x1, y1, x2, y2 = _box(mask)
        near = (slice(max(y1 - 1, 0), y2 + 1), slice(max(x1 - 1, 0), x2 + 1))
        seen = cv2.copyMakeBorder(
            mask[y1:y2, x1:x2].astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0
        )
        opened = int(cv2.morphologyEx(seen, cv2.MORPH_OPEN, square).sum())
        grown = cv2.dilate(mask[near].astype(np.uint8), square) > 0
        same = [m for o, m in zip(objects, masks, strict=True) if o.sprite.name == placed.sprite.name]
        outside, _ = cv2.connectedComponents(1 - seen, connectivity=4)
        rows.append(
            {
                "occluded": round(hidden[i], 4),
                "thin": opened < 0.7 * int(seen.sum()),
                "small": max(x2 - x1, y2 - y1) < 0.1875 * mask.shape[0],
                "touching": any(bool((grown & m[near]).any()) for m in same if m is not mask),
                "holes": outside > 2,
                "truncated": x1 == 0 or y1 == 0 or x2 == mask.shape[1] or y2 == mask.shape[0],
            }
        )
    return rows


def _box(mask: Array) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def make_scene(seed: int, config: SceneConfig = SceneConfig()) -> Scene:
    """Draw one scene. The same seed and config give the same bytes."""
    rng = np.random.default_rng(seed)
    scenery = lay_out(rng, config.size)
    light = float(rng.uniform(-0.85, -0.15) * np.pi)
    objects, seen, hidden = visible_masks(_populate(rng, Ground(scenery.stuff), config, light), config.size)
    _paint(scenery, objects, light)
    semantic = scenery.stuff + np.uint8(len(SCENE_THINGS))
    real = [i for i, placed in enumerate(objects) if not placed.decoy]
    things, masks = [objects[i] for i in real], [seen[i] for i in real]
    labels = np.asarray([SCENE_THINGS.index(p.sprite.name) for p in things], dtype=np.int64)
    for label, mask in zip(labels, masks, strict=True):
        semantic[mask] = label
    lures = [(p, m) for p, m in zip(objects, seen, strict=True) if p.decoy]
    return Scene(
        image=_finish(rng, scenery.picture, config),
        boxes=np.asarray([_box(m) for m in masks], dtype=np.float32).reshape(-1, 4),
        labels=labels,
        masks=np.asarray(masks, dtype=np.uint8).reshape(-1, config.size, config.size),
        semantic=semantic,
        decoys=tuple(Decoy(p.sprite.name, p.stuff, _box(m)) for p, m in lures),
        attributes=tuple(_attributes(things, masks, [hidden[i] for i in real])),
    )
