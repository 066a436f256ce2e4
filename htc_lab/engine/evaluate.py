"""COCO evaluation: the twelve statistics, for boxes and for masks.

Two engines compute them. ``pycocotools`` is the reference; ``hotcoco`` is a far faster
implementation of the same rules and the default. The tests hold the two equal.

Both engines take what ``_true_objects`` and ``_found_objects`` hand over, field by field: a dict for every
object and detection takes longer to make and to read than the statistics. Two traps are settled on the way:

* annotations are numbered anew from 1, because the reference reads a match with id 0 as no match;
* a mask evaluation gets no boxes and a box evaluation no masks, because the reference takes a detection's
  size from its box whenever there is one. So APs, APm and APl of masks go by the mask's area, as in today's
  public evaluations (and unlike the paper's own table, which fits box areas).
"""

import contextlib
import io
import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, Literal, NamedTuple, get_args

import hotcoco
import numpy as np
import torch
from jaxtyping import Bool
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from htc_lab.errors import InputError
from htc_lab.structures import Detections

Kind = Literal["bbox", "segm"]
Engine = Literal["hotcoco", "pycocotools"]

STATISTICS: tuple[str, ...] = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
)

_GEOMETRY: dict[str, str] = {"bbox": "bbox", "segm": "segmentation"}


def encode_masks(masks: Bool[Tensor, "n H W"]) -> list[dict[str, Any]]:
    """Binary masks as COCO's compressed run-length encoding.

    Args:
        masks: (n, H, W) bool, on any device.

    Returns:
        n dicts of ``size`` ([H, W]) and ``counts`` (str, so that the dict can go into a JSON file).
    """
    if len(masks) == 0:
        return []
    # Runs go down the columns, so H must be the fastest axis in memory: (n, W, H), then seen transposed.
    columns = masks.transpose(1, 2).to(torch.uint8).cpu().contiguous().numpy()
    return [
        {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}
        for code in rle.encode(columns.T)
    ]


def coco_results(
    image_id: int,
    detections: Detections,
    category_ids: Sequence[int],
    masks: Bool[Tensor, "n H W"] | None = None,
) -> list[dict[str, Any]]:
    """One image's detections as COCO result entries, in the order given.

    Args:
        image_id: the image's id in the ground truth.
        detections: n detections, in pixels of the image as the ground truth knows it.
        category_ids: the data set's category id of each label 0..K-1.
        masks: (n, H, W) bool, in place of ``detections.masks``: another stage's masks for the same boxes.

    Returns:
        n dicts of ``image_id``, ``category_id``, ``bbox`` ([x, y, width, height], px), ``score`` and
        ``segmentation`` (compressed RLE). ``evaluate`` takes from them the geometry it needs.

    Raises:
        InputError: if a label has no category id.
    """
    labels = detections.labels.tolist()
    if labels and max(labels) >= len(category_ids):
        raise InputError(
            f"category_ids: label {max(labels)} has no category id (there are {len(category_ids)}); "
            "give one id for each class the model was built with"
        )
    corners = detections.boxes.double().cpu()
    boxes = torch.cat((corners[:, :2], corners[:, 2:] - corners[:, :2]), dim=1).tolist()
    codes = encode_masks(detections.masks if masks is None else masks)
    return [
        {
            "image_id": int(image_id),
            "category_id": int(category_ids[label]),
            "bbox": box,
            "score": score,
            "segmentation": code,
        }
        for label, box, score, code in zip(labels, boxes, detections.scores.tolist(), codes, strict=True)
    ]


def evaluate(
    truth: dict[str, Any],
    results: list[dict[str, Any]],
    kind: Kind,
    engine: Engine = "hotcoco",
) -> dict[str, float]:
    """The twelve COCO statistics of a set of detections. Prints nothing and changes neither argument.

    Args:
        truth: a COCO data set: ``images``, ``annotations`` (polygons or RLE), ``categories``. All its images
            count, those without annotations or without detections too. ``iscrowd`` is 0 where absent.
        results: COCO result entries, as ``coco_results`` makes them; may be empty.
        kind: "bbox" for box AP, "segm" for mask AP.
        engine: "hotcoco" (fast) or "pycocotools" (the reference).

    Returns:
        The values by the names in ``STATISTICS``, in points (0..100); nan where no object is there to be
        found (COCO's -1).

    Raises:
        InputError: if an entry names an image or category the truth does not list, or lacks a field, or has a
            mask of the wrong size.
    """
    _one_of("engine", engine, get_args(Engine))
    objects = _true_objects(truth, kind)
    found = _found_objects(objects, results, kind)
    statistics = (_by_hotcoco if engine == "hotcoco" else _by_pycocotools)(objects, found, kind)
    return {
        name: math.nan if value == -1 else 100.0 * value
        for name, value in zip(STATISTICS, statistics, strict=True)
    }


def match_images(truth: dict[str, Any], results: list[dict[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    """Which detections match which objects, image by image and category by category.

    Args and errors are those of ``evaluate``. Objects of all sizes and the best 100 detections an image and
    category count.

    Returns:
        One dict for each image and category with objects or detections, in order of category and image:
        ``category_id``, ``image_id``, ``dtScores`` (d,), ``dtMatched`` and ``dtIgnore`` (10 IoU thresholds,
        d), ``gtInDenominator`` (g,). Detections are best first.
    """
    objects = _true_objects(truth, kind)
    evaluation = _hotcoco_evaluation(objects, _found_objects(objects, results, kind), kind)
    evaluation.params.area_rng = [[0.0, 1e10]]
    evaluation.params.area_rng_lbl = ["all"]
    evaluation.params.max_dets = [100]
    evaluation.evaluate()
    found = (entry for entry in evaluation.eval_imgs if entry is not None)
    return sorted(found, key=lambda entry: (entry["category_id"], entry["image_id"]))


class _True(NamedTuple):
    """The ground truth: its images and categories, and of the g objects the fields that count."""

    images: list[dict[str, Any]]
    categories: list[dict[str, Any]]
    image_ids: list[int]
    category_ids: list[int]
    areas: np.ndarray
    crowds: list[int]
    geometry: list[Any]


class _Found(NamedTuple):
    """Of the d detections the fields that count, in the order given."""

    image_ids: list[int]
    category_ids: list[int]
    scores: np.ndarray
    geometry: list[Any]


def _hotcoco_evaluation(objects: _True, found: _Found, kind: Kind) -> Any:
    boxes = [
        _boxes(of.geometry) if kind == "bbox" else np.zeros((len(of.geometry), 4)) for of in (objects, found)
    ]
    truth = hotcoco.COCO.from_arrays(
        objects.images,
        objects.categories,
        objects.image_ids,
        objects.category_ids,
        boxes[0],
        area=objects.areas,
        iscrowd=objects.crowds,
        segmentation=None if kind == "bbox" else objects.geometry,
    )
    table = np.column_stack((found.image_ids, boxes[1], found.scores, found.category_ids))
    if kind == "bbox":
        return hotcoco.COCOeval(truth, truth.load_res(table), kind)
    results = truth.load_res(table, segmentation=found.geometry)
    # It has taken the areas from the boxes, of which there are none.
    areas = hotcoco.mask.area(found.geometry)
    results.update_anns(ids=np.arange(1, len(areas) + 1), area=areas)
    return hotcoco.COCOeval(truth, results, kind)


def _boxes(geometry: list[Any]) -> np.ndarray:
    return np.array(geometry, dtype=np.float64).reshape(-1, 4)


def _by_hotcoco(objects: _True, found: _Found, kind: Kind) -> list[float]:
    evaluation = _hotcoco_evaluation(objects, found, kind)
    evaluation.evaluate()
    evaluation.accumulate()
    # summarize() prints past sys.stdout, so the means are taken here from the curves it would read.
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    every, small, medium, large = range(4)
    return [
        _mean(precision[..., every, 2]),
        _mean(precision[0, ..., every, 2]),
        _mean(precision[5, ..., every, 2]),
        *(_mean(precision[..., size, 2]) for size in (small, medium, large)),
        *(_mean(recall[..., every, limit]) for limit in range(3)),
        *(_mean(recall[..., size, 2]) for size in (small, medium, large)),
    ]


def _mean(values: np.ndarray) -> float:
    """The mean over the categories that have objects (the others hold -1), or -1 if none has."""
    present = values[values > -1]
    return float(present.mean()) if present.size else -1.0


def _by_pycocotools(objects: _True, found: _Found, kind: Kind) -> list[float]:
    if not objects.categories or not objects.images:
        # Nothing to select by: the reference would then take an empty selection for "all".
        return [-1.0] * len(STATISTICS)
    place = ("image_id", "category_id")
    numbered = zip(range(1, len(objects.geometry) + 1), *objects[2:], strict=True)
    annotations = [
        dict(zip(("id", *place, "area", "iscrowd", _GEOMETRY[kind]), values, strict=True))
        for values in numbered
    ]
    entries = [
        dict(zip((*place, "score", _GEOMETRY[kind]), values, strict=True))
        for values in zip(*found, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = {
            "images": objects.images,
            "categories": objects.categories,
            "annotations": annotations,
        }
        ground_truth.createIndex()
        if entries:
            results = ground_truth.loadRes(entries)
        else:
            # loadRes looks at its first entry to learn the kind, so it cannot take none.
            results = COCO()
            results.dataset = {**ground_truth.dataset, "annotations": []}
            results.createIndex()
        evaluation = COCOeval(ground_truth, results, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def _true_objects(truth: dict[str, Any], kind: Kind) -> _True:
    _one_of("kind", kind, get_args(Kind))
    for field in ("images", "annotations", "categories"):
        if field not in truth:
            raise InputError(f"ground truth: the list '{field}' is missing; give a COCO instances data set")
    shape = ("height", "width") if kind == "segm" else ()
    columns = _columns(truth["images"], ("id", *shape), "ground truth, images")
    images = [dict(zip(("id", *shape), values, strict=True)) for values in zip(*columns, strict=True)]
    (names,) = _columns(truth["categories"], ("id",), "ground truth, categories")
    where, entries = "ground truth, annotations", truth["annotations"]
    image_ids, category_ids, areas, geometry = _columns(
        entries, ("image_id", "category_id", "area", _GEOMETRY[kind]), where
    )
    objects = _True(
        images,
        [{"id": name, "name": str(name)} for name in names],
        image_ids,
        category_ids,
        _finite(areas, "area", where),
        [int(entry.get("iscrowd", 0)) for entry in entries],
        geometry,
    )
    _check_ids(objects, objects, where)
    if kind == "segm":
        _check_outlines(geometry, where)
    else:
        _check_boxes(geometry, where)
    return objects


def _found_objects(objects: _True, results: list[dict[str, Any]], kind: Kind) -> _Found:
    where = "results"
    image_ids, category_ids, scores, geometry = _columns(
        results, ("image_id", "category_id", "score", _GEOMETRY[kind]), where
    )
    found = _Found(image_ids, category_ids, _finite(scores, "score", where), geometry)
    _check_ids(found, objects, where)
    if kind == "segm":
        _check_sizes(found, objects, where)
    else:
        _check_boxes(geometry, where)
    return found


def _one_of(flag: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{flag}: {value!r} is unknown; choose one of {', '.join(choices)}")


def _columns(entries: list[dict[str, Any]], fields: tuple[str, ...], where: str) -> list[list[Any]]:
    """The named fields of all entries, one list a field."""
    try:
        return [[entry[field] for entry in entries] for field in fields]
    except KeyError as missing:
        number = next(n for n, entry in enumerate(entries) if missing.args[0] not in entry)
        raise InputError(f"{where}[{number}]: the field {missing} is missing; add it") from None


def _check_ids(given: _True | _Found, objects: _True, where: str) -> None:
    """That image and category of each object given are among the ground truth's own."""
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
    """As float64; each must be a finite number."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([value if isinstance(value, Real) else np.nan for value in values])
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        number = next(n for n, value in enumerate(numbers) if np.ndim(value) or not np.isfinite(value))
        raise InputError(f"{where}[{number}]: the {field} is {values[number]!r:.80}; give a finite number")
    return numbers


def _check_boxes(boxes: list[Any], where: str) -> None:
    """Four finite numbers each."""
    try:
        good = np.isfinite(_boxes(boxes)).all() and all(len(box) == 4 for box in boxes)
    except (TypeError, ValueError):
        good = False
    if not good:
        number = next(n for n, box in enumerate(boxes) if not _is_box(box))
        raise InputError(
            f"{where}[{number}]: 'bbox' is {boxes[number]!r:.80}; "
            "give four finite numbers: x, y, width, height"
        )


def _is_box(box: Any) -> bool:
    try:
        return np.array(box, dtype=np.float64).shape == (4,) and bool(np.isfinite(box).all())
    except (TypeError, ValueError):
        return False


def _check_sizes(found: _Found, objects: _True, where: str) -> None:
    """That each mask is of its image's size."""
    sizes = {image["id"]: [image["height"], image["width"]] for image in objects.images}
    try:
        given = [code["size"] for code in found.geometry]
    except (TypeError, KeyError, IndexError):
        number = next(
            n for n, code in enumerate(found.geometry) if not (isinstance(code, dict) and "size" in code)
        )
        raise InputError(
            f"{where}[{number}]: 'segmentation' is no RLE with a 'size'; encode the mask with encode_masks"
        ) from None
    expected = [sizes[image_id] for image_id in found.image_ids]
    # All at once first: one by one takes longer than all the other checks.
    if given == expected:
        return
    for number, (size, image_size) in enumerate(zip(given, expected, strict=True)):
        if list(size) != image_size:
            raise InputError(
                f"{where}[{number}]: the mask is {size} but image {found.image_ids[number]} is "
                f"{image_size} (height, width); give masks at the image's size"
            )


def _check_outlines(outlines: list[Any], where: str) -> None:
    """An RLE, or polygons of three points or more; the engines part ways on anything else."""
    for number, outline in enumerate(outlines):
        if isinstance(outline, dict):
            continue
        if not outline or any(len(polygon) < 6 or len(polygon) % 2 for polygon in outline):
            raise InputError(
                f"{where}[{number}]: 'segmentation' has no polygon, or one with fewer than three points; "
                "outline the object, or evaluate boxes only"
            )
