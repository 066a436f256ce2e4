"""Mask IoU between the detections and the objects of each image, regardless of their classes."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask


@dataclass(frozen=True)
class ImageOverlaps:
    """One image.

    Attributes:
        image_id: its id.
        found: (d,) indices of its detections in the results, best score first.
        objects: (g,) indices of its annotations in the truth.
        iou: (d, g) mask IoU; for a crowd annotation, the share of the detection inside it, as in COCO.
    """

    image_id: int
    found: np.ndarray
    objects: np.ndarray
    iou: np.ndarray


def overlaps(truth: dict[str, Any], results: list[dict[str, Any]]) -> Iterator[ImageOverlaps]:
    """The images of ``truth`` in the order of their ids, one by one.

    Args:
        truth: COCO data set, as for ``evaluate``.
        results: COCO result entries with ``segmentation``.
    """
    found: dict[int, list[int]] = defaultdict(list)
    for place, entry in enumerate(results):
        found[entry["image_id"]].append(place)
    objects: dict[int, list[int]] = defaultdict(list)
    for place, annotation in enumerate(truth["annotations"]):
        objects[annotation["image_id"]].append(place)
    for image in sorted(truth["images"], key=lambda image: image["id"]):
        here, there = found[image["id"]], objects[image["id"]]
        # A stable sort: equal scores keep the order of the results, as in COCO.
        here.sort(key=lambda place: -results[place]["score"])
        size = image["height"], image["width"]
        iou = np.zeros((len(here), len(there)))
        if here and there:
            annotations = [truth["annotations"][place] for place in there]
            iou = coco_mask.iou(
                [_code(results[place]["segmentation"], *size) for place in here],
                [_code(annotation["segmentation"], *size) for annotation in annotations],
                [int(annotation.get("iscrowd", 0)) for annotation in annotations],
            )
        yield ImageOverlaps(image["id"], np.asarray(here, dtype=int), np.asarray(there, dtype=int), iou)


def _code(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Polygons or any RLE as a compressed RLE."""
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation
