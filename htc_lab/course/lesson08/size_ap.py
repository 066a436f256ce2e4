"""08: AP by size under two rules for the size of a detection."""

import contextlib
import copy
import dataclasses
import io
import math
from typing import Any

from IPython.display import Markdown
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from htc_lab.data.dataset import CocoDataset
from htc_lab.data.layout import DataFolder
from htc_lab.evaluate.inference import predict_split, truth_of
from htc_lab.model import HybridTaskCascade
from htc_lab.predictors import ModelPredictor

COCO_LIMITS = (32.0, 96.0)
"""Sides, px, of the squares that separate small, medium and large objects on COCO's photos."""


def size_ap(
    truth: dict[str, Any], results: list[dict[str, Any]], by_box: bool, limits: tuple[float, float]
) -> list[float]:
    """Mask AP of all, small, medium and large objects, in points; NaN if there are no such objects.

    Args:
        truth: a COCO data set; the size of its objects is their ``area``.
        results: COCO result entries with masks.
        by_box: the size of a detection is that of its box, as for results with a ``bbox``; otherwise that
            of its mask.
        limits: as :data:`COCO_LIMITS`.
    """
    entries = [{k: v for k, v in entry.items() if k != "bbox"} for entry in results]
    if by_box:
        for entry in entries:
            entry["bbox"] = rle.toBbox(entry["segmentation"]).tolist()
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = copy.deepcopy(truth)
        known.createIndex()
        evaluation = COCOeval(known, known.loadRes(entries), "segm")
        small, large = (limit**2 for limit in limits)
        evaluation.params.areaRng = [[0, 1e10], [0, small], [small, large], [large, 1e10]]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    picked = (float(evaluation.stats[i]) for i in (0, 3, 4, 5))
    return [math.nan if value == -1 else 100 * value for value in picked]


def size_ap_table(
    model: HybridTaskCascade, data: DataFolder, images: int, limits: tuple[float, float] = COCO_LIMITS
) -> Markdown:
    """The same detections evaluated twice: sized by their masks, and by their boxes.

    Args:
        model: with the classes of the data.
        data: with a test split.
        images: how many test images, taken from the start.
        limits: as :data:`COCO_LIMITS`.
    """
    test = data.test
    ids = [image["id"] for image in test.coco.images[:images]]
    dataset = CocoDataset(dataclasses.replace(test, coco=test.coco.subset(ids)))
    results = predict_split(ModelPredictor(model), dataset, progress=False).final
    lines = [
        f"| {len(dataset)} pictures, mask AP; a detection's size is | AP | APs | APm | APl |",
        "|---|---|---|---|---|",
    ]
    for words, by_box in (("the area of its mask", False), ("the area of its box", True)):
        values = size_ap(truth_of(dataset), results, by_box, limits)
        lines.append(f"| {words} | " + " | ".join(f"{value:.1f}" for value in values) + " |")
    return Markdown("\n".join(lines))
