"""COCO evaluation: the twelve statistics, for boxes and for masks.

Two engines compute them. ``pycocotools`` is the reference; ``hotcoco`` is a far faster
implementation of the same rules and the default. The tests hold the two equal.

Both engines take what ``_plain_truth`` and ``_plain_results`` hand over, and those settle two traps:

* annotations are renumbered from 1, because the reference reads a match with id 0 as no match;
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
    truth, results = _plain_truth(truth, kind), _plain_results(truth, results, kind)
    statistics = (
        _by_hotcoco(truth, results, kind) if engine == "hotcoco" else _by_pycocotools(truth, results, kind)
    )
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
    evaluation = _hotcoco_evaluation(_plain_truth(truth, kind), _plain_results(truth, results, kind), kind)
    evaluation.params.area_rng = [[0.0, 1e10]]
    evaluation.params.area_rng_lbl = ["all"]
    evaluation.params.max_dets = [100]
    evaluation.evaluate()
    found = (entry for entry in evaluation.eval_imgs if entry is not None)
    return sorted(found, key=lambda entry: (entry["category_id"], entry["image_id"]))


def _hotcoco_evaluation(truth: dict[str, Any], results: list[dict[str, Any]], kind: Kind) -> Any:
    ground_truth = hotcoco.COCO(truth)
    return hotcoco.COCOeval(ground_truth, ground_truth.load_res(results), kind)


def _by_hotcoco(truth: dict[str, Any], results: list[dict[str, Any]], kind: Kind) -> list[float]:
    evaluation = _hotcoco_evaluation(truth, results, kind)
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


def _by_pycocotools(truth: dict[str, Any], results: list[dict[str, Any]], kind: Kind) -> list[float]:
    if not truth["categories"] or not truth["images"]:
        # Nothing to select by: the reference would then take an empty selection for "all".
        return [-1.0] * len(STATISTICS)
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = truth
        ground_truth.createIndex()
        if results:
            found = ground_truth.loadRes(results)
        else:
            # loadRes looks at its first entry to learn the kind, so it cannot take none.
            found = COCO()
            found.dataset = {**truth, "annotations": []}
            found.createIndex()
        evaluation = COCOeval(ground_truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(value) for value in evaluation.stats]


def _plain_truth(truth: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """The ground truth with exactly the fields the evaluation of this kind reads, in fresh dicts."""
    _one_of("kind", kind, get_args(Kind))
    for field in ("images", "annotations", "categories"):
        if field not in truth:
            raise InputError(f"ground truth: the list '{field}' is missing; give a COCO instances data set")
    shape = ("height", "width") if kind == "segm" else ()
    images = _pick(truth["images"], ("id", *shape), "ground truth, images")
    categories = _pick(truth["categories"], ("id",), "ground truth, categories")
    named = [{**entry, "name": str(entry["id"])} for entry in categories]
    plain = {"images": images, "annotations": [], "categories": named}
    where = "ground truth, annotations"
    annotations = _pick(truth["annotations"], ("image_id", "category_id", "area", _GEOMETRY[kind]), where)
    _check_ids(annotations, plain, where)
    if kind == "segm":
        _check_outlines(annotations, where)
    plain["annotations"] = [
        {**annotation, "id": number, "iscrowd": int(source.get("iscrowd", 0))}
        for number, (annotation, source) in enumerate(
            zip(annotations, truth["annotations"], strict=True), start=1
        )
    ]
    return plain


def _plain_results(truth: dict[str, Any], results: list[dict[str, Any]], kind: Kind) -> list[dict[str, Any]]:
    """The results with the one geometry that counts, in fresh dicts and in the order given."""
    where = "results"
    plain = _pick(results, ("image_id", "category_id", "score", _GEOMETRY[kind]), where)
    _check_ids(plain, truth, where)
    scores = np.array([entry["score"] for entry in plain], dtype=np.float64)
    if not np.isfinite(scores).all():
        number = int(np.isfinite(scores).argmin())
        raise InputError(f"{where}[{number}]: the score is {scores[number]}; give a finite number")
    if kind == "segm":
        sizes = {image["id"]: [image["height"], image["width"]] for image in truth["images"]}
        for number, entry in enumerate(plain):
            size = entry["segmentation"]["size"]
            if list(size) != sizes[entry["image_id"]]:
                raise InputError(
                    f"{where}[{number}]: the mask is {size} but image {entry['image_id']} is "
                    f"{sizes[entry['image_id']]} (height, width); give masks at the image's size"
                )
    return plain


def _one_of(flag: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{flag}: {value!r} is unknown; choose one of {', '.join(choices)}")


def _pick(entries: list[dict[str, Any]], fields: tuple[str, ...], where: str) -> list[dict[str, Any]]:
    """Fresh dicts of the named fields alone."""
    try:
        return [{field: entry[field] for field in fields} for entry in entries]
    except KeyError as missing:
        number = next(n for n, entry in enumerate(entries) if missing.args[0] not in entry)
        raise InputError(f"{where}[{number}]: the field {missing} is missing; add it") from None


def _check_ids(entries: list[dict[str, Any]], truth: dict[str, Any], where: str) -> None:
    for field, listed in (("image_id", "images"), ("category_id", "categories")):
        known = {entry["id"] for entry in truth[listed]}
        unknown = {entry[field] for entry in entries} - known
        if unknown:
            number, entry = next((n, entry) for n, entry in enumerate(entries) if entry[field] in unknown)
            raise InputError(
                f"{where}[{number}]: {field} {entry[field]} is not among the ground truth's {listed}; "
                "use the ground truth these entries were made for"
            )


def _check_outlines(annotations: list[dict[str, Any]], where: str) -> None:
    """An RLE, or polygons of three points or more; the engines part ways on anything else."""
    for number, annotation in enumerate(annotations):
        outline = annotation["segmentation"]
        if isinstance(outline, dict):
            continue
        if not outline or any(len(polygon) < 6 or len(polygon) % 2 for polygon in outline):
            raise InputError(
                f"{where}[{number}]: 'segmentation' has no polygon, or one with fewer than three points; "
                "outline the object, or evaluate boxes only"
            )
