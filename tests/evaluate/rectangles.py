"""Truths and detections of filled rectangles, where every overlap can be told by hand."""

from typing import Any

import torch

from htc_lab.evaluate.coco_ap import encode_masks

SIDE = 40
A, B = 3, 7
CATEGORIES = [{"id": A, "name": "boat"}, {"id": B, "name": "kite"}]
PLAIN = {
    "occluded": 0.0,
    "thin": False,
    "small": False,
    "touching": False,
    "holes": False,
    "truncated": False,
}
Box = tuple[int, int, int, int]


def code(box: Box) -> dict[str, Any]:
    """The RLE of the pixels of x, y, width, height."""
    x, y, w, h = box
    mask = torch.zeros((1, SIDE, SIDE), dtype=torch.bool)
    mask[0, y : y + h, x : x + w] = True
    return encode_masks(mask)[0]


def thing(image: int, category: int, box: Box, crowd: int = 0, **attributes: Any) -> dict[str, Any]:
    """An annotation with the attributes of a scene."""
    return {
        "image_id": image,
        "category_id": category,
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": crowd,
        "segmentation": code(box),
        "attributes": {**PLAIN, **attributes},
    }


def detection(image: int, category: int, box: Box, score: float) -> dict[str, Any]:
    """A COCO result."""
    return {
        "image_id": image,
        "category_id": category,
        "bbox": [float(side) for side in box],
        "score": score,
        "segmentation": code(box),
    }


def truth(*annotations: dict[str, Any], images: int = 1, decoys: Any = ()) -> dict[str, Any]:
    """A data set of ``images`` images; the decoys are those of the first."""
    sizes = [{"id": i + 1, "height": SIDE, "width": SIDE, "decoys": []} for i in range(images)]
    sizes[0]["decoys"] = list(decoys)
    numbered = [{**a, "id": number} for number, a in enumerate(annotations, start=1)]
    return {"images": sizes, "annotations": numbered, "categories": CATEGORIES}
