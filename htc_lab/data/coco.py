"""COCO instance annotations: read once and checked fully, so that nothing fails in the middle of training."""

import json
import math
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from htc_lab.data.rle import as_coco_writes, decode_segmentation, segmentation_fault
from htc_lab.errors import InputError, in_one_line
from htc_lab.wording import counted

Row = dict[str, Any]

MOST_PIXELS = 178_956_970
"""In an image; PIL treats a larger one as an attack on the memory and does not open it."""

_LARGEST = 2**53
"""Beyond it, neither a float nor a browser can tell one whole number from the next."""

_LONGEST_NAME, _LONGEST_PATH = 255, 1000
_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's control characters, surrogates, line and paragraph separators."""


@dataclass(frozen=True)
class CocoData:
    """The content of one annotation file.

    Attributes:
        path: the file.
        images: COCO image entries, in the file's order.
        annotations_by_image: annotations of every image id (an empty list if there are none); each has
            ``iscrowd`` and ``area``, filled in if the file leaves them out.
        categories: sorted by id.
        class_names: in the order of ``categories``.
        label_of: category id -> contiguous label 0..K-1.
        notes: what was read otherwise than it is written, one sentence each.
    """

    path: Path
    images: list[Row]
    annotations_by_image: dict[int, list[Row]]
    categories: list[Row]
    class_names: tuple[str, ...]
    label_of: dict[int, int]
    notes: tuple[str, ...] = ()

    @property
    def category_ids(self) -> tuple[int, ...]:
        """The category id of each label."""
        return tuple(self.label_of)

    def subset(self, image_ids: Iterable[int]) -> "CocoData":
        """The same data with only these images (in the file's order).

        Raises:
            InputError: an id is not in the file.
        """
        wanted = set(image_ids)
        missing = sorted(wanted - self.annotations_by_image.keys())
        if missing:
            raise InputError(f"{self.path}: no image with id {missing[0]}; choose ids from its images")
        return CocoData(
            path=self.path,
            images=[image for image in self.images if image["id"] in wanted],
            annotations_by_image={i: rows for i, rows in self.annotations_by_image.items() if i in wanted},
            categories=self.categories,
            class_names=self.class_names,
            label_of=self.label_of,
            notes=self.notes,
        )

    def as_dict(self) -> dict[str, Any]:
        """A COCO dictionary, as the evaluation takes it."""
        rows = [row for image in self.images for row in self.annotations_by_image[image["id"]]]
        return {"info": {}, "images": self.images, "annotations": rows, "categories": self.categories}


def decode_mask(annotation: Row, height: int, width: int) -> np.ndarray:
    """Pixels of an annotation: (height, width) uint8, from polygons or a run-length encoding."""
    return decode_segmentation(annotation["segmentation"], height, width)


def read_coco(path: Path) -> CocoData:
    """Read and check an annotation file.

    Raises:
        InputError: the file is missing or not JSON, or an entry is wrong; names the entry and a fix.
    """
    path = Path(path)
    tree = read_tree(path)
    tables = {key: table(path, tree, key) for key in ("images", "annotations", "categories")}
    categories = _check_categories(path, tables["categories"])
    images = _check_images(path, tables["images"])
    by_image: dict[int, list[Row]] = {image["id"]: [] for image in images}
    sizes = {image["id"]: (image["height"], image["width"]) for image in images}
    category_ids = {category["id"] for category in categories}
    seen: set[int] = set()
    nested = 0
    for i, row in enumerate(tables["annotations"]):
        row, changed = with_flat_polygons(row)
        nested += changed
        fault = annotation_fault(row, sizes, category_ids, seen)
        if fault:
            raise InputError(f"{path}: annotations[{i}]{_with_id(row)}{fault}")
        seen.add(row["id"])
        row = {"iscrowd": 0} | row
        if "area" not in row:
            row["area"] = int(decode_mask(row, *sizes[row["image_id"]]).sum())
        by_image[row["image_id"]].append(row)
    return CocoData(
        path=path,
        images=images,
        annotations_by_image=by_image,
        categories=categories,
        class_names=tuple(category["name"] for category in categories),
        label_of={category["id"]: label for label, category in enumerate(categories)},
        notes=(nested_note(path, nested),) if nested else (),
    )


def with_flat_polygons(row: Row) -> tuple[Row, bool]:
    """An annotation with its polygons as COCO writes them, and whether that is a change."""
    found = row.get("segmentation")
    flat = as_coco_writes(found)
    return (row, False) if flat is found else (row | {"segmentation": flat}, True)


def nested_note(path: Path, count: int) -> str:
    """That ``count`` polygons of the file had points as lists."""
    return (
        f"{path.name}: polygons of {counted(count, 'object')} list points one by one ([[x, y], ...]) or lack "
        "the outer list; they are read as COCO's [[x1, y1, x2, y2, ...]]"
    )


def read_tree(path: Path) -> dict[str, Any]:
    """The JSON object in an annotation file; its content is not checked.

    Raises:
        InputError: the file is missing, or doesn't hold a JSON object.
    """
    try:
        tree = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such annotation file; check the path") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a COCO instances JSON") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InputError(
            f"{path}: broken JSON at {place} ({error.msg}); export or download it again"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text at byte {error.start}; save it as UTF-8 JSON") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: broken JSON ({in_one_line(error)}); export or download it again") from None
    if not isinstance(tree, dict):
        raise InputError(
            f"{path}: holds a {type(tree).__name__}, not an object with images, annotations and categories; "
            "give a COCO instances JSON (a list is a results file)"
        )
    return tree


def table(path: Path, tree: dict[str, Any], key: str) -> list[Row]:
    """A list of objects in a JSON object.

    Raises:
        InputError: it is missing, or is something else.
    """
    if key not in tree:
        raise InputError(f"{path}: field '{key}' is missing; a COCO instances JSON has it")
    if not isinstance(tree[key], list):
        raise InputError(f"{path}: field '{key}' is a {type(tree[key]).__name__}; it must be a list")
    for i, row in enumerate(tree[key]):
        if not isinstance(row, dict):
            raise InputError(f"{path}: {key}[{i}] is a {type(row).__name__}; it must be an object")
    return tree[key]


def _with_id(row: Row) -> str:
    return f" (id {row['id']})" if _is_int(row.get("id")) else ""


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < _LARGEST
        and math.isfinite(value)
    )


def _is_name(value: Any) -> bool:
    return (
        isinstance(value, str)
        and bool(value.strip())
        and not any(unicodedata.category(c) in _NO_TEXT for c in value)
    )


def _is_file_name(value: Any) -> bool:
    if not _is_name(value):
        return False
    path = PurePath(value)
    sizes = [len(os.fsencode(part)) for part in path.parts]
    return path.name not in ("", "..") and max(sizes) <= _LONGEST_NAME and sum(sizes) <= _LONGEST_PATH


def _shown(value: Any) -> str:
    """The value for a message; Python refuses to write out numbers with thousands of digits."""
    try:
        return f"{value!r:.60}"
    except ValueError:
        return "a number with thousands of digits"


def _field_fault(row: Row, field: str, good: bool, wanted: str) -> str | None:
    if field not in row:
        return f".{field}: is missing; it must be {wanted}"
    return None if good else f".{field}: is {_shown(row[field])}; it must be {wanted}"


def _check_categories(path: Path, rows: list[Row]) -> list[Row]:
    if not rows:
        raise InputError(f"{path}: field 'categories' is empty; name at least one class")
    seen: set[int] = set()
    for i, row in enumerate(rows):
        fault = category_fault(row, seen)
        if fault:
            raise InputError(f"{path}: categories[{i}]{fault}")
        seen.add(row["id"])
    return sorted(rows, key=lambda row: row["id"])


def _check_images(path: Path, rows: list[Row]) -> list[Row]:
    if not rows:
        raise InputError(f"{path}: field 'images' is empty; there is nothing to read")
    seen: set[int] = set()
    for i, row in enumerate(rows):
        fault = image_fault(row, seen)
        if fault:
            raise InputError(f"{path}: images[{i}]{_with_id(row)}{fault}")
        seen.add(row["id"])
    return rows


def category_fault(row: Row, seen: set[int]) -> str | None:
    """What is wrong with a category: ".field: fault; fix", or None. ``seen``: ids of earlier ones."""
    fault = _field_fault(row, "id", _is_int(row.get("id")), "an integer below 2^53")
    fault = fault or _field_fault(row, "name", _is_name(row.get("name")), "a name on one line")
    if not fault and row["id"] in seen:
        fault = f".id: {row['id']} occurs twice; give every category its own id"
    return fault


def image_fault(row: Row, seen: set[int]) -> str | None:
    """What is wrong with an image entry: ".field: fault; fix", or None. ``seen``: ids of earlier ones."""
    good = _is_file_name(row.get("file_name"))
    fault = _field_fault(row, "id", _is_int(row.get("id")), "an integer below 2^53")
    fault = fault or _field_fault(row, "file_name", good, "the name of the image file")
    for side in ("height", "width"):
        good = _is_int(row.get(side)) and row[side] > 0
        fault = fault or _field_fault(row, side, good, "a positive integer, px")
    if not fault and row["height"] * row["width"] > MOST_PIXELS:
        fault = f".height, width: {row['height']} x {row['width']} px must be at most {MOST_PIXELS} pixels"
    if not fault and row["id"] in seen:
        fault = f".id: {row['id']} occurs twice; give every image its own id"
    return fault


def annotation_fault(
    row: Row, sizes: dict[int, tuple[int, int]], category_ids: set[int], seen: set[int]
) -> str | None:
    """What is wrong with an annotation: ".field: fault; fix", or None.

    Args:
        row: the annotation.
        sizes: (height, width) of each image id.
        category_ids: the existing ones.
        seen: ids of earlier annotations.
    """
    for field in ("id", "image_id", "category_id"):
        fault = _field_fault(row, field, _is_int(row.get(field)), "an integer below 2^53")
        if fault:
            return fault
    if row["id"] in seen:
        return f".id: {row['id']} occurs twice; give every annotation its own id"
    if row["image_id"] not in sizes:
        return f".image_id: {row['image_id']} is not among the images; add the image or drop the annotation"
    if row["category_id"] not in category_ids:
        return f".category_id: {row['category_id']} is not among the categories; add it there or correct it"
    box = row.get("bbox")
    good = isinstance(box, list) and len(box) == 4 and all(map(_is_number, box)) and min(box[2:]) >= 0
    fault = _field_fault(row, "bbox", good, "[x, y, width, height], finite, no negative size")
    if fault:
        return fault
    if "iscrowd" in row and row["iscrowd"] not in (0, 1):
        return f".iscrowd: is {_shown(row['iscrowd'])}; it must be 0 or 1"
    if "area" in row and not (_is_number(row["area"]) and row["area"] >= 0):
        return f".area: is {_shown(row['area'])}; it must be a number, 0 or more"
    if "segmentation" not in row:
        return ".segmentation: is missing; give polygons or a run-length encoding"
    fault = segmentation_fault(row["segmentation"], *sizes[row["image_id"]])
    return f".segmentation{fault}" if fault else None
