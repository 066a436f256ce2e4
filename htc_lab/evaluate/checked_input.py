"""The input of an evaluation, checked and split into columns.

A dict for every object and detection takes longer to create and read than the statistics themselves, so
entries are split into columns once. An error message names an entry by its index.
"""

from numbers import Real
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from htc_lab.errors import InputError

Kind = Literal["bbox", "segm"]

GEOMETRY: dict[Kind, str] = {"bbox": "bbox", "segm": "segmentation"}


class Truth(NamedTuple):
    """The ground truth: its images and categories, and the relevant fields of its g objects.

    ``boxes`` are (g, 4) x, y, width, height (px), or zeros when masks are evaluated; ``geometry`` is the
    entries' own boxes or masks.
    """

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    image_ids: list[int]
    category_ids: list[int]
    areas: np.ndarray
    crowds: list[int]
    geometry: list[Any]
    boxes: np.ndarray


class Found(NamedTuple):
    """The relevant fields of the d detections; ``boxes`` and ``geometry`` as in ``Truth``."""

    image_ids: list[int]
    category_ids: list[int]
    scores: np.ndarray
    geometry: list[Any]
    boxes: np.ndarray


def true_objects(truth: dict[str, Any], kind: Kind) -> Truth:
    """The objects of a COCO data set of the form described in ``evaluate``.

    Raises:
        InputError: something is wrong; the message names the entry and the field.
    """
    check_choice("kind", kind, get_args(Kind))
    for field in ("images", "annotations", "categories"):
        if field not in truth:
            raise InputError(f"ground truth: the list '{field}' is missing; give a COCO instances data set")
    shape = ("height", "width") if kind == "segm" else ()
    columns = _columns(truth["images"], ("id", *shape), "ground truth, images")
    images = [dict(zip(("id", *shape), values, strict=True)) for values in zip(*columns, strict=True)]
    (names,) = _columns(truth["categories"], ("id",), "ground truth, categories")
    where, entries = "ground truth, annotations", truth["annotations"]
    image_ids, category_ids, areas, geometry = _columns(
        entries, ("image_id", "category_id", "area", GEOMETRY[kind]), where
    )
    boxes = _finite_boxes(geometry, where) if kind == "bbox" else np.zeros((len(geometry), 4))
    objects = Truth(
        images,
        [{"id": name, "name": str(name)} for name in names],
        image_ids,
        category_ids,
        _finite(areas, "area", where),
        [int(entry.get("iscrowd", 0)) for entry in entries],
        geometry,
        boxes,
    )
    _check_ids(objects, objects, where)
    if kind == "segm":
        _check_outlines(geometry, where)
    return objects


def found_objects(objects: Truth, results: list[dict[str, Any]], kind: Kind) -> Found:
    """The detections of COCO result entries, in the order given.

    Raises:
        InputError: something is wrong; the message names the entry and the field.
    """
    where = "results"
    image_ids, category_ids, scores, geometry = _columns(
        results, ("image_id", "category_id", "score", GEOMETRY[kind]), where
    )
    boxes = _finite_boxes(geometry, where) if kind == "bbox" else np.zeros((len(geometry), 4))
    found = Found(image_ids, category_ids, _finite(scores, "score", where), geometry, boxes)
    _check_ids(found, objects, where)
    if kind == "segm":
        _check_sizes(found, objects, where)
    return found


def check_choice(flag: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse any value that is not among the choices.

    Raises:
        InputError: the message lists the choices.
    """
    if value not in choices:
        raise InputError(f"{flag}: {value!r} is unknown; choose one of {', '.join(choices)}")


def _columns(entries: list[dict[str, Any]], fields: tuple[str, ...], where: str) -> list[list[Any]]:
    """The named fields of all entries, one list per field."""
    try:
        return [[entry[field] for entry in entries] for field in fields]
    except KeyError as missing:
        number = next(n for n, entry in enumerate(entries) if missing.args[0] not in entry)
        raise InputError(f"{where}[{number}]: the field {missing} is missing; add it") from None


def _check_ids(given: Truth | Found, objects: Truth, where: str) -> None:
    """Check that the image and category of each object are among the ground truth's own."""
    for field, ids, listed, owners in (
        ("image_id", given.image_ids, "images", objects.images),
        ("category_id", given.category_ids, "categories", objects.categories),
    ):
        unknown = set(ids) - {owner["id"] for owner in owners}
        if unknown:
            number, value = next((n, value) for n, value in enumerate(ids) if value in unknown)
            raise InputError(
                f"{where}[{number}]: {field} {value} is not among the ground truth's {listed}; "
                "use the ground truth these entries were made for"
            )


def _finite(values: list[Any], field: str, where: str) -> np.ndarray:
    """The values as float64; each must be a finite number."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([value if isinstance(value, Real) else np.nan for value in values])
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        number = next(n for n, value in enumerate(numbers) if np.ndim(value) or not np.isfinite(value))
        raise InputError(f"{where}[{number}]: the {field} is {values[number]!r:.80}; give a finite number")
    return numbers


def _finite_boxes(boxes: list[Any], where: str) -> np.ndarray:
    """The boxes as (n, 4) float64; each must be four finite numbers."""
    if not boxes:
        return np.zeros((0, 4))
    try:
        numbers = np.array(boxes, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if numbers.shape != (len(boxes), 4) or not np.isfinite(numbers).all():
        number = next(n for n, box in enumerate(boxes) if not _is_box(box))
        raise InputError(
            f"{where}[{number}]: 'bbox' is {boxes[number]!r:.80}; "
            "give four finite numbers: x, y, width, height"
        )
    return numbers


def _is_box(box: Any) -> bool:
    try:
        return np.array(box, dtype=np.float64).shape == (4,) and bool(np.isfinite(box).all())
    except (TypeError, ValueError):
        return False


def _check_sizes(found: Found, objects: Truth, where: str) -> None:
    """Check that each mask has the size of its image."""
    sizes = {image["id"]: [image["height"], image["width"]] for image in objects.images}
    try:
        given = [code["size"] for code in found.geometry]
    except (TypeError, KeyError, IndexError):
        number = next(
            n for n, code in enumerate(found.geometry) if not (isinstance(code, dict) and "size" in code)
        )
        raise InputError(
            f"{where}[{number}]: 'segmentation' is not an RLE with a 'size'; use encode_masks for the mask"
        ) from None
    expected = [sizes[image_id] for image_id in found.image_ids]
    # First all at once, since one by one takes longer than all other checks together.
    if given == expected:
        return
    for number, (size, image_size) in enumerate(zip(given, expected, strict=True)):
        if list(size) != image_size:
            raise InputError(
                f"{where}[{number}]: the mask is {size} but image {found.image_ids[number]} is "
                f"{image_size} (height, width); give masks at the image's size"
            )


def _check_outlines(outlines: list[Any], where: str) -> None:
    """Check for an RLE, or polygons of at least three points; the engines disagree on anything else."""
    for number, outline in enumerate(outlines):
        if isinstance(outline, dict):
            continue
        if not outline or any(len(polygon) < 6 or len(polygon) % 2 for polygon in outline):
            raise InputError(
                f"{where}[{number}]: 'segmentation' has no polygon, or one with fewer than three points; "
                "outline the object, or evaluate boxes only"
            )
