"""01: from polygons, run lengths and masks to what a network is trained on."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from htc_lab.course.exercise import Case, Exercise, Mistake
from htc_lab.course.shared_draws import generator_of, some_masks, whole
from htc_lab.data.semantic import semantic_from_instances


def polygon_to_mask(polygon: Sequence[float], height: int, width: int, centre: float = 0.5) -> np.ndarray:
    """The pixels whose centre lies inside the polygon, (height, width) uint8.

    A point lies inside if a line from it to the right crosses the outline an odd number of times.
    """
    points = np.asarray(polygon, dtype=np.float64).reshape(-1, 2)
    ys, xs = np.mgrid[:height, :width] + centre
    inside = np.zeros((height, width), dtype=bool)
    for (x1, y1), (x2, y2) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y1 == y2:
            continue
        crosses = (y1 > ys) != (y2 > ys)
        inside ^= crosses & (xs < x1 + (ys - y1) / (y2 - y1) * (x2 - x1))
    return inside.astype(np.uint8)


def _polygon_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    cases = []
    for corners in (3, whole(g, 4, 7)):
        height, width = whole(g, 10, 20), whole(g, 21, 30)
        angles = np.sort(np.random.default_rng(seed + corners).uniform(0, 2 * np.pi, corners))
        reach = np.random.default_rng(seed + corners + 1).uniform(0.4, 0.98, corners)
        xs, ys = width / 2 * (1 + reach * np.cos(angles)), height / 2 * (1 + reach * np.sin(angles))
        polygon = np.stack([xs, ys], axis=1).ravel().tolist()
        cases.append(
            Case(f"a polygon with {corners} corners, {height} × {width} px", (polygon, height, width))
        )
    return cases


def _box_filled(polygon: Sequence[float], height: int, width: int) -> Any:
    xs, ys = np.asarray(polygon[0::2]), np.asarray(polygon[1::2])
    cy, cx = np.mgrid[:height, :width] + 0.5
    return ((cx > xs.min()) & (cx < xs.max()) & (cy > ys.min()) & (cy < ys.max())).astype(np.uint8)


POLYGON = Exercise(
    "01.1",
    "polygon_to_mask",
    "Polygon to mask",
    polygon_to_mask,
    _polygon_cases,
    "Go through the edges. An edge crosses the height y if one end is above it and the other isn't. Count "
    "the crossings to the right of each pixel's centre: an odd number means inside.",
    (
        Mistake(
            lambda p, h, w: polygon_to_mask(p, h, w, centre=0.0),
            "You test the corner of each pixel. Pixel (row, column) has its centre at (column + 0.5, "
            "row + 0.5).",
        ),
        Mistake(
            lambda p, h, w: polygon_to_mask([v for i in range(0, len(p), 2) for v in (p[i + 1], p[i])], h, w),
            "x and y are swapped: a polygon lists x first, but an array is indexed by the row, y, first.",
        ),
        Mistake(_box_filled, "You fill the box around the polygon. Only what is inside the outline counts."),
    ),
)


def rle_counts(mask: np.ndarray) -> list[int]:
    """The lengths of the runs outside, inside, outside, ... down the columns; the first may be 0."""
    pixels = mask.T.ravel().tolist()
    runs = [len(list(run)) for _, run in groupby(pixels)]
    return [0, *runs] if pixels[0] else runs


def _rle_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    height, width = whole(g, 5, 9), whole(g, 10, 14)
    mask = some_masks(g, 1, height, width)[0]
    corner = mask.copy()
    corner[0, 0] = 1
    return [
        Case(f"a mask of {height} × {width} px", (mask,)),
        Case("a mask whose first pixel is inside", (corner,)),
    ]


def _runs_alone(mask: np.ndarray) -> Any:
    return [len(list(run)) for _, run in groupby(mask.T.ravel().tolist())]


RLE = Exercise(
    "01.2",
    "rle_counts",
    "Run-length encoding",
    rle_counts,
    _rle_cases,
    "Put the pixels in one long row, column after column, and write down how long each run of equal pixels "
    "is. The first number always counts pixels outside.",
    (
        Mistake(
            lambda mask: rle_counts(mask.T),
            "You go along the rows; COCO goes down the columns (`mask.T.ravel()`).",
        ),
        Mistake(
            _runs_alone,
            "The first number counts pixels outside. If the first pixel is inside, this number is 0.",
        ),
        Mistake(
            lambda mask: rle_counts(mask)[:-1],
            "The last run is missing: it ends where the picture ends, without another change.",
        ),
    ),
)


def box_of_mask(mask: np.ndarray) -> list[float]:
    """The tight box [x1, y1, x2, y2] px; x2 - x1 is the number of columns it spans."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


def _box_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    masks = some_masks(g, 3, whole(g, 12, 20), whole(g, 21, 30))
    return [
        Case(f"mask {i + 1} of 3, {mask.shape[0]} × {mask.shape[1]} px", (mask,))
        for i, mask in enumerate(masks)
    ]


def _last_pixel(mask: np.ndarray) -> Any:
    x1, y1, x2, y2 = box_of_mask(mask)
    return [x1, y1, x2 - 1, y2 - 1]


def _yx(mask: np.ndarray) -> Any:
    x1, y1, x2, y2 = box_of_mask(mask)
    return [y1, x1, y2, x2]


def _xywh(mask: np.ndarray) -> Any:
    x1, y1, x2, y2 = box_of_mask(mask)
    return [x1, y1, x2 - x1, y2 - y1]


BOX = Exercise(
    "01.3",
    "box_of_mask",
    "Box of a mask",
    box_of_mask,
    _box_cases,
    "`mask.any(axis=0)` tells you which columns contain a pixel, and `np.flatnonzero` gives their indices.",
    (
        Mistake(
            _last_pixel,
            "x2 and y2 are the *edges* after the last pixel, one more than its index: a box around a single "
            "pixel is 1 wide, not 0.",
        ),
        Mistake(_yx, "x and y are swapped: columns are x, and x comes first."),
        Mistake(
            _xywh, "This is x, y, width, height, as in a COCO file. Inside a model, boxes are x1, y1, x2, y2."
        ),
    ),
)


def _semantic_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    classes, count = whole(g, 4, 8), whole(g, 5, 8)
    masks = some_masks(g, count)
    labels = np.asarray([whole(g, 0, classes - 1) for _ in range(count)], dtype=np.int64)
    return [
        Case(f"{count} objects of {classes} classes", (masks, labels, classes)),
        Case("a picture without objects", (masks[:0], labels[:0], classes)),
    ]


def _in_order(masks: np.ndarray, labels: np.ndarray, classes: int) -> Any:
    out = np.full(masks.shape[1:], classes, dtype=np.uint8)
    for mask, label in zip(masks, labels, strict=True):
        out[mask > 0] = label
    return out


def _background_as(value: int) -> Any:
    def answer(masks: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
        out = semantic_from_instances(masks, labels, classes)
        out[out == classes] = value
        return out

    return answer


SEMANTIC = Exercise(
    "01.4",
    "semantic_map",
    "Semantic map from instances",
    semantic_from_instances,
    _semantic_cases,
    "Start with a map filled with the index of the background, sort the objects by area, and write the "
    "largest first.",
    (
        Mistake(
            _in_order,
            "You write the objects in the order given, so a large one can hide a small one that lies on top "
            "of it. Write the largest first.",
        ),
        Mistake(
            _background_as(255),
            "255 means *ignored*: such pixels don't count in the loss, and the branch never learns what "
            "background is. Background is a class of its own, with index num_classes.",
        ),
        Mistake(
            _background_as(0),
            "0 is the first of the things. Background comes after all things: its index is num_classes.",
        ),
    ),
    points=3,
)

EXERCISES = (POLYGON, RLE, BOX, SEMANTIC)
