"""COCO's segmentations: polygons, and run-length encodings (RLE), uncompressed or compressed.

An RLE lists how many pixels are outside, inside, outside, ... going down the columns. In the compressed form
each count (from the fourth on, its difference from the count two before it) is written in 5-bit groups, low
ones first, one character per group: 48 + group, plus 32 if more groups follow.
"""

from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from htc_lab.errors import InputError

_LONGEST_BITS = 60


def rle_counts(text: str) -> list[int]:
    """The counts of a compressed RLE.

    Raises:
        ValueError: there is a character outside the code, or the text ends within a number.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f"character {character!r} is not part of the code")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            if shift > _LONGEST_BITS:
                raise ValueError("a number in it never ends")
            continue
        if code & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("the text ends within a number")
    return counts


def as_coco_writes(segmentation: Any) -> Any:
    """Polygons as lists x1, y1, x2, y2, ..., where a tool has written each point as a list of its own.

    ``[[x1, y1], [x2, y2], ...]`` and ``[x1, y1, x2, y2, ...]`` without the outer list are one polygon.

    Returns:
        The same object if there is nothing to change, or nothing that could be meant.
    """
    if not isinstance(segmentation, list) or not segmentation:
        return segmentation
    if all(isinstance(p, list) and len(p) > 2 and not isinstance(p[0], list) for p in segmentation):
        return segmentation
    if _are_numbers(segmentation) or _are_points(segmentation):
        return [_flat(segmentation)]
    flat = [_flat(polygon) for polygon in segmentation]
    same = all(now is before for now, before in zip(flat, segmentation, strict=True))
    return segmentation if same else flat


def _flat(polygon: Any) -> Any:
    """The numbers of a polygon whose points are lists; anything else as it is."""
    # A polygon without holes in the manner of GeoJSON is a list of one ring.
    ring = polygon
    while isinstance(ring, list) and len(ring) == 1 and isinstance(ring[0], list):
        ring = ring[0]
    return [v for point in ring for v in point] if _are_points(ring) else polygon


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(type(v) in (int, float) for v in values)


def _are_points(values: Any) -> bool:
    return (
        isinstance(values, list) and len(values) > 2 and all(_are_numbers(p) and len(p) == 2 for p in values)
    )


def _polygon_fault(polygon: Any, reach: int) -> str | None:
    if not isinstance(polygon, list):
        return f": is a {type(polygon).__name__}; it must be a list x1, y1, x2, y2, ..."
    if len(polygon) < 6 or len(polygon) % 2:
        return f": has {len(polygon)} numbers; it must have the x and y of at least three points"
    if not all(isinstance(v, (int, float)) and not isinstance(v, bool) and v == v for v in polygon):
        return ": must hold only finite numbers"
    if max(map(abs, polygon)) > reach:
        return f": has a coordinate beyond {reach} px, far outside the image; correct it"
    return None


# pycocotools allocates memory for each pixel of an outline, even outside the image, and crashes if it can't.
_SIDES_OUTSIDE, _PIXELS_OUTSIDE = 4, 1000


def segmentation_fault(segmentation: Any, height: int, width: int) -> str | None:
    """What is wrong with a segmentation of a height × width image: ": fault; fix", or None."""
    if isinstance(segmentation, list):
        if not segmentation:
            return ": is empty; give at least one polygon, or drop the annotation"
        for i, polygon in enumerate(segmentation):
            fault = _polygon_fault(polygon, _SIDES_OUTSIDE * max(height, width) + _PIXELS_OUTSIDE)
            if fault:
                return f"[{i}]{fault}"
        return None
    if not isinstance(segmentation, dict):
        return f": is a {type(segmentation).__name__}; it must be a list of polygons or an RLE object"
    if segmentation.get("size") != [height, width]:
        size = segmentation.get("size")
        return (
            f".size: is {size!r:.60}, but the image's [height, width] is {[height, width]}; make them agree"
        )
    counts = segmentation.get("counts")
    if isinstance(counts, str):
        try:
            counts = rle_counts(counts)
        except ValueError as error:
            return f".counts: {error}; encode the mask again"
    if not isinstance(counts, list) or not all(isinstance(n, int) and n >= 0 for n in counts):
        return ".counts: must be an RLE text or a list of integers, 0 or more; encode the mask again"
    if sum(counts) != height * width:
        return f".counts: cover {sum(counts)} px, but the image has {height * width}; encode the mask again"
    return None


def decode_segmentation(segmentation: Any, height: int, width: int) -> np.ndarray:
    """The pixels: (height, width) uint8, 1 inside. Several polygons are parts of one object.

    Raises:
        InputError: the segmentation is wrong or does not fit the size.
    """
    fault = segmentation_fault(segmentation, height, width)
    if fault:
        raise InputError(f"segmentation{fault}")
    if isinstance(segmentation, list):
        parts = coco_mask.frPyObjects(segmentation, height, width)
        return np.ascontiguousarray(coco_mask.decode(coco_mask.merge(parts)))
    counts = segmentation["counts"]
    runs = rle_counts(counts) if isinstance(counts, str) else counts
    inside = np.arange(len(runs), dtype=np.uint8) % 2
    return np.ascontiguousarray(np.repeat(inside, runs).reshape(width, height).T)


def extent_of(segmentation: Any, mask: np.ndarray) -> np.ndarray:
    """(4,) xyxy px: the extent of the polygons as they were drawn, or else of the mask's pixels.

    Args:
        segmentation: without fault.
        mask: (H, W), its pixels; at least one.
    """
    if isinstance(segmentation, list):
        points = np.concatenate([np.asarray(part, dtype=float).reshape(-1, 2) for part in segmentation])
        return np.concatenate([points.min(axis=0), points.max(axis=0)])
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=float)
