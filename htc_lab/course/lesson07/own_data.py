"""07: the smallest possible COCO-format folder, written from pictures and masks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2

from htc_lab.data.dataset import Sample
from htc_lab.evaluate.coco_ap import encode_masks


def write_example(folder: Path, samples: Sequence[Sample], class_names: Sequence[str]) -> Path:
    """Write ``folder/annotations.json`` and ``folder/images/``, without semantic maps, and return the folder.

    Args:
        folder: where to write them.
        samples: pictures with boxes, labels and masks.
        class_names: in the order of the labels.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, sample in enumerate(samples, start=1):
        _, height, width = sample.image.shape
        name = f"photo_{number}.png"
        cv2.imwrite(str(folder / "images" / name), sample.image.permute(1, 2, 0).numpy()[..., ::-1])
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        codes = encode_masks(sample.targets.masks.bool())
        for box, label, code in zip(
            sample.targets.boxes.tolist(), sample.targets.labels.tolist(), codes, strict=True
        ):
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "segmentation": code,
                }
            )
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(class_names)]
    tree = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(tree), encoding="utf-8")
    return folder
