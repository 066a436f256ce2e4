"""COCO evaluation: the twelve statistics, for boxes and for masks.

Two engines compute them. ``pycocotools`` is the reference; ``hotcoco``, the default, is a far faster
implementation of the same rules. The tests check that the two agree.

Both take the columns from ``checked_input``. Two traps are avoided along the way:

* annotations are renumbered from 1, because the reference takes a match with id 0 for no match;
* a mask evaluation gets no boxes and a box evaluation no masks, because the reference takes a detection's
  size from its box whenever there is one. So APs, APm and APl of masks go by the mask's area, as in today's
  public evaluations (and unlike the paper's own table, which fits box areas).
"""

import contextlib
import io
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import hotcoco
import numpy as np
import torch
from jaxtyping import Bool
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from htc_lab.errors import InputError
from htc_lab.evaluate.checked_input import (
    GEOMETRY,
    Found,
    Kind,
    Truth,
    check_choice,
    found_objects,
    true_objects,
)
from htc_lab.structures import Detections

Engine = Literal["hotcoco", "pycocotools"]

STATISTICS: tuple[str, ...] = (
    *("AP", "AP50", "AP75", "APs", "APm", "APl"),
    *("AR1", "AR10", "AR100", "ARs", "ARm", "ARl"),
)


def encode_masks(masks: Bool[Tensor, "n H W"]) -> list[dict[str, Any]]:
    """Binary masks as COCO's compressed run-length encoding.

    Args:
        masks: (n, H, W) bool, on any device.

    Returns:
        n dicts of ``size`` ([H, W]) and ``counts`` (str, so that the dict can go into a JSON file).
    """
    if len(masks) == 0:
        return []
    # Runs go down the columns, so H must be the fastest axis in memory: store (n, W, H), then transpose.
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
        category_ids: the data set's category id for each label 0..K-1.
        masks: (n, H, W) bool, used instead of ``detections.masks``: another stage's masks for the same boxes.

    Returns:
        n dicts of ``image_id``, ``category_id``, ``bbox`` ([x, y, width, height], px), ``score`` and
        ``segmentation`` (compressed RLE). ``evaluate`` uses whichever geometry it needs.

    Raises:
        InputError: a label has no category id.
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
            count, even those without annotations or detections. ``iscrowd`` defaults to 0.
        results: COCO result entries, as returned by ``coco_results``; may be empty.
        kind: "bbox" for box AP, "segm" for mask AP.
        engine: "hotcoco" (fast) or "pycocotools" (the reference).

    Returns:
        The values by the names in ``STATISTICS``, in points (0..100); NaN if there is no object to find
        (COCO's -1).

    Raises:
        InputError: an entry names an image or category that the truth doesn't list, lacks a field, or has a
            mask of the wrong size.
    """
    check_choice("engine", engine, get_args(Engine))
    objects = true_objects(truth, kind)
    found = found_objects(objects, results, kind)
    statistics = (_by_hotcoco if engine == "hotcoco" else _by_pycocotools)(objects, found, kind)
    return {
        name: math.nan if value == -1 else 100.0 * value
        for name, value in zip(STATISTICS, statistics, strict=True)
    }


def match_images(truth: dict[str, Any], results: list[dict[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    """Which detections match which objects, image by image and category by category.

    Arguments and errors are those of ``evaluate``. Objects of all sizes count, and the best 100 detections
    per image and category.

    Returns:
        One dict for each image and category with objects or detections, in order of category and image:
        ``category_id``, ``image_id``, ``dtScores`` (d,), ``dtMatched`` and ``dtIgnore`` (10 IoU thresholds,
        d), ``gtInDenominator`` (g,). Detections are best first.
    """
    objects = true_objects(truth, kind)
    evaluation = _hotcoco_evaluation(objects, found_objects(objects, results, kind), kind)
    evaluation.params.area_rng = [[0.0, 1e10]]
    evaluation.params.area_rng_lbl = ["all"]
    evaluation.params.max_dets = [100]
    evaluation.evaluate()
    found = (entry for entry in evaluation.eval_imgs if entry is not None)
    return sorted(found, key=lambda entry: (entry["category_id"], entry["image_id"]))


def _hotcoco_evaluation(objects: Truth, found: Found, kind: Kind) -> Any:
    truth = hotcoco.COCO.from_arrays(
        objects.images,
        objects.categories,
        objects.image_ids,
        objects.category_ids,
        objects.boxes,
        area=objects.areas,
        iscrowd=objects.crowds,
        segmentation=objects.geometry if kind == "segm" else None,
    )
    table = np.column_stack((found.image_ids, found.boxes, found.scores, found.category_ids))
    if kind == "bbox":
        return hotcoco.COCOeval(truth, truth.load_res(table), kind)
    results = truth.load_res(table, segmentation=found.geometry)
    # hotcoco took the areas from the boxes, but there are none.
    areas = hotcoco.mask.area(found.geometry)
    results.update_anns(ids=np.arange(1, len(areas) + 1), area=areas)
    return hotcoco.COCOeval(truth, results, kind)


def _by_hotcoco(objects: Truth, found: Found, kind: Kind) -> list[float]:
    evaluation = _hotcoco_evaluation(objects, found, kind)
    evaluation.evaluate()
    evaluation.accumulate()
    # summarize() prints without going through sys.stdout, so compute the means from the curves here.
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
    """The mean over the categories that have objects (the others are -1), or -1 if none has."""
    present = values[values > -1]
    return float(present.mean()) if present.size else -1.0


def _entries(kind: Kind, geometry: list[Any], **columns: Sequence[Any]) -> list[dict[str, Any]]:
    """One dict per object, as the reference expects it."""
    columns = {**columns, GEOMETRY[kind]: geometry}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _by_pycocotools(objects: Truth, found: Found, kind: Kind) -> list[float]:
    if not objects.categories or not objects.images:
        # Without images or categories, the reference would take an empty selection for "all".
        return [-1.0] * len(STATISTICS)
    annotations = _entries(
        kind,
        id=range(1, len(objects.geometry) + 1),
        image_id=objects.image_ids,
        category_id=objects.category_ids,
        area=objects.areas.tolist(),
        iscrowd=objects.crowds,
        geometry=objects.geometry,
    )
    entries = _entries(
        kind,
        image_id=found.image_ids,
        category_id=found.category_ids,
        score=found.scores.tolist(),
        geometry=found.geometry,
    )
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
            # loadRes looks at its first entry to find out the kind, so it needs at least one.
            results = COCO()
            results.dataset = {**ground_truth.dataset, "annotations": []}
            results.createIndex()
        evaluation = COCOeval(ground_truth, results, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]
