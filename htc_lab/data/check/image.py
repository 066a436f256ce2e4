"""What the linter checks for one image: its file, its map, its annotations. Runs in worker processes."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from htc_lab.data.coco import Row, decode_mask
from htc_lab.data.pictures import PictureFacts, digest_of, picture_facts, read_pixels
from htc_lab.data.rle import extent_of
from htc_lab.data.semantic import read_semantic_map
from htc_lab.errors import InputError

# Rounding and drawing styles differ by a pixel or two; a larger difference means something else was outlined.
_SLACK = 2.0
_AREA_SLACK = 0.1
_AREA_FEW = 16.0


@dataclass(frozen=True)
class Finding:
    """Something the linter found.

    Attributes:
        level: "error" (the lab stops there, or would learn or report something wrong) or "warning".
        code: the kind: ``table.field`` of the JSON, or a name such as ``leak``.
        split: train, val or test.
        message: file, entry, what is wrong.
    """

    level: str
    code: str
    split: str
    message: str


@dataclass(frozen=True)
class ImageJob:
    """One image to check.

    Attributes:
        split: train, val or test.
        image: its entry.
        rows: its annotations (already valid as JSON).
        path: its file.
        map_path: its semantic map; None if the split has none.
    """

    split: str
    image: Row
    rows: list[Row]
    path: Path
    map_path: Path | None


@dataclass
class ImageResult:
    """What was found out about one image.

    Attributes:
        split, image_id, path, map_path: which image it is.
        findings: in the order they were found.
        digest: of the pixels; empty if the file can't be read.
        facts: how its pixels are read.
        values: the values in its map, one byte each; None without a (valid) map.
        inside: category id -> (256,) int64, pixels of each value of the map inside the single objects of that
            category, where no other object overlaps them.
        palette: whether the map is a palette PNG.
    """

    split: str
    image_id: int
    path: Path
    map_path: Path | None
    findings: list[Finding] = field(default_factory=list)
    digest: str = ""
    facts: PictureFacts = field(default_factory=PictureFacts)
    values: bytes | None = None
    inside: dict[int, np.ndarray] = field(default_factory=dict)
    palette: bool = False

    def say(self, level: str, code: str, message: str) -> None:
        self.findings.append(Finding(level, code, self.split, message))


def look_at(job: ImageJob) -> ImageResult:
    """All checks of one image."""
    result = ImageResult(job.split, job.image["id"], job.path, job.map_path)
    height, width = job.image["height"], job.image["width"]
    try:
        result.digest = digest_of(read_pixels(job.path, height, width))
        result.facts = picture_facts(job.path, height, width)
    except InputError as error:
        result.say("error", "image", str(error))
    masks = [decode_mask(row, height, width) for row in job.rows]
    for row, mask in zip(job.rows, masks, strict=True):
        where = f"image id {job.image['id']} ({job.image['file_name']}), annotation id {row['id']}"
        _look_at_box(result, row, where, height, width)
        _look_at_mask(result, row, mask, where)
    if job.map_path is not None:
        _look_at_map(result, job.map_path, job.rows, masks, height, width)
    return result


def _look_at_map(
    result: ImageResult, path: Path, rows: list[Row], masks: list[np.ndarray], height: int, width: int
) -> None:
    try:
        values = read_semantic_map(path, height, width, None)
    except InputError as error:
        result.say("error", "map", str(error))
        return
    with Image.open(path) as picture:
        result.palette = picture.mode == "P"
    result.values = np.flatnonzero(np.bincount(values.ravel())).astype(np.uint8).tobytes()
    # Where objects overlap, a map can show only one of them.
    alone = np.sum(masks, axis=0, dtype=np.int64) == 1 if masks else np.zeros((height, width), dtype=bool)
    for row, mask in zip(rows, masks, strict=True):
        if not row["iscrowd"]:
            before = result.inside.get(row["category_id"], np.zeros(256, dtype=np.int64))
            counts = np.bincount(values[alone & (mask > 0)], minlength=256)
            result.inside[row["category_id"]] = before + counts


def _look_at_box(result: ImageResult, row: Row, where: str, height: int, width: int) -> None:
    x, y, w, h = (float(v) for v in row["bbox"])
    box = f"bbox [{x:g}, {y:g}, {w:g}, {h:g}]"
    if min(w, h) <= 0:
        message = f"{where}: {box} has no width or no height; training leaves the object out"
        result.say("warning", "box-empty", message)
    elif x >= width or y >= height or x + w <= 0 or y + h <= 0:
        message = f"{where}: {box} lies entirely outside the {width}x{height} image"
        result.say("error", "box-outside", message)
    else:
        over = max(-x, -y, x + w - width, y + h - height)
        if over > 1:
            message = f"{where}: {box} sticks {over:g} px out of the image; the lab clips it"
            result.say("warning", "box-outside", message)


def _look_at_mask(result: ImageResult, row: Row, mask: np.ndarray, where: str) -> None:
    if not mask.any():
        message = f"{where}: its mask has no pixel; training leaves the object out"
        result.say("warning", "mask-empty", message)
        return
    x, y, w, h = (float(v) for v in row["bbox"])
    limits = np.array([mask.shape[1], mask.shape[0]] * 2, dtype=float)
    box = np.clip([x, y, x + w, y + h], 0, limits)
    extent = np.clip(extent_of(row["segmentation"], mask), 0, limits)
    apart = float(np.abs(box - extent).max())
    if apart > _SLACK:
        grave = _iou(box, extent) < 0.5
        shown = ", ".join(f"{v:g}" for v in extent)
        message = f"{where}: its bbox is {apart:.1f} px off its mask, which spans [{shown}] (x1, y1, x2, y2)"
        result.say("error" if grave else "warning", "mask-box", message)
    area, given = float(mask.sum()), float(row["area"])
    if abs(given - area) > max(_AREA_SLACK * area, _AREA_FEW):
        hint = "; that is the area of its box, so AP by size will be wrong" if abs(given - w * h) < 1 else ""
        result.say("warning", "area", f"{where}: area is {given:g}, but its mask has {area:g} px{hint}")


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    union = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both
    return both / union if union > 0 else 0.0
