"""Tiny data folders, made for one test each."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

CATEGORIES = [{"id": 7, "name": "nut"}, {"id": 3, "name": "fig"}]
HEIGHT, WIDTH = 24, 32


def box_mask(x: int, y: int, width: int, height: int) -> np.ndarray:
    """(HEIGHT, WIDTH) uint8."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[y : y + height, x : x + width] = 1
    return mask


def rle(mask: np.ndarray) -> dict[str, Any]:
    encoded = coco_mask.encode(np.asfortranarray(mask))
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def annotation(id_: int, image_id: int, category_id: int, box: tuple[int, int, int, int]) -> dict[str, Any]:
    """A rectangle as RLE."""
    mask = box_mask(*box)
    return {
        "id": id_,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": [float(v) for v in box],
        "area": float(mask.sum()),
        "iscrowd": 0,
        "segmentation": rle(mask),
    }


def tree(image_ids: range, prefix: str = "") -> dict[str, Any]:
    """Annotations of ``image_ids``: a nut in each, a fig in every second one."""
    images = [{"id": i, "file_name": f"{prefix}{i}.png", "height": HEIGHT, "width": WIDTH} for i in image_ids]
    rows = [annotation(10 * i, i, 7, (2, 3, 10, 8)) for i in image_ids]
    rows += [annotation(10 * i + 1, i, 3, (14, 9, 7, 11)) for i in image_ids if i % 2 == 0]
    return {"images": images, "annotations": rows, "categories": CATEGORIES}


def write_json(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_images(folder: Path, content: dict[str, Any]) -> None:
    """A grey-green picture for every image entry."""
    for image in content["images"]:
        pixels = np.full((image["height"], image["width"], 3), (60, 120, image["id"]), dtype=np.uint8)
        path = folder / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def write_maps(folder: Path, content: dict[str, Any], values: np.ndarray) -> None:
    """The same map for every image entry."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in content["images"]:
        Image.fromarray(values).save(folder / f"{Path(image['file_name']).stem}.png")


def write_split_tree(root: Path, year: str = "") -> None:
    """annotations/instances_{train,val}YEAR.json with one image folder a split."""
    for name, ids in (("train", range(1, 5)), ("val", range(5, 8))):
        content = tree(ids)
        write_json(root / "annotations" / f"instances_{name}{year}.json", content)
        write_images(root / f"{name}{year}", content)
