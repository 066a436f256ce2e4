"""The facade photographs as a data folder of the lab, at a chosen size.

    root/images/IMG_0718_1.jpg      root/annotations/{instances_train,instances_val}.json
    root/semantic/IMG_0718_1.png    root/annotations/{semantic_classes,provenance}.json
    root/SOURCE.md                  root/facades.json

The folder appears whole or not at all.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from tqdm.auto import tqdm

from htc_lab.data.facades.original import (
    COMMIT,
    HOST,
    PUBLISHED,
    REPOSITORY,
    SIDE,
    Crop,
    PublishedFolder,
    get_original,
    read_original,
)
from htc_lab.data.facades.split import split_of
from htc_lab.data.fetch.download import Patience
from htc_lab.data.fetch.verify import require_room
from htc_lab.data.pictures import opened
from htc_lab.errors import InputError
from htc_lab.files import appears_whole, read_json

SMALLEST = 256
"""The least width, px: in smaller pictures too many windows are a few pixels wide."""

THINGS = ("window", "balcony-fence", "car", "shop", "traffic-infrastructure")
SEMANTIC = (
    "unlabelled",
    "facade",
    "street",
    "vegetation",
    "non-building-infrastructure",
    "fence",
    "shop",
    "window",
    "balcony-fence",
    "traffic-infrastructure",
    "car",
)
PAINT_ORDER = (
    "facade",
    "shop",
    "window",
    "balcony-fence",
    "street",
    "vegetation",
    "non-building-infrastructure",
    "fence",
    "traffic-infrastructure",
    "car",
)
"""What is painted later lies on top."""

JPEG_QUALITY = 90
_JUDGED_AT, _LEAST_AREA, _LEAST_WIDTH = 512, 8, 2
_LICENCE = {"id": 1, "name": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"}
_UNIVERSE = "https://universe.roboflow.com/building-facade/building-facade-segmentation-instance"
_FORMAT = 1
SIDECAR = "facades.json"


def _mask(polygon: Sequence[float], size: int) -> Any:
    """A polygon of the original at ``size`` px: its run-length encoding."""
    return coco_mask.frPyObjects([_scaled(polygon, size)], size, size)[0]


def _scaled(polygon: Sequence[float], size: int) -> list[float]:
    """In px of the new size."""
    return [value * size / SIDE for value in polygon]


def _is_seen(polygon: Sequence[float]) -> bool:
    """Whether an object counts. It is decided at one size, so that every size has the same objects."""
    mask = _mask(polygon, _JUDGED_AT)
    width, height = coco_mask.toBbox(mask)[2:]
    return bool(coco_mask.area(mask) >= _LEAST_AREA and min(width, height) >= _LEAST_WIDTH)


def objects_of(crop: Crop, size: int) -> list[dict[str, Any]]:
    """The things of a picture, class by class, as COCO annotations without ids.

    Areas and boxes are those of the masks.
    """
    rows = []
    for name, polygon in crop.polygons:
        if name not in THINGS or not _is_seen(polygon):
            continue
        mask = _mask(polygon, size)
        rows.append(
            {
                "category_id": THINGS.index(name) + 1,
                "segmentation": [[round(value, 2) for value in _scaled(polygon, size)]],
                "area": float(coco_mask.area(mask)),
                "bbox": [float(value) for value in coco_mask.toBbox(mask)],
                "iscrowd": 0,
            }
        )
    return sorted(rows, key=lambda row: row["category_id"])


def semantic_map(crop: Crop, size: int) -> np.ndarray:
    """(size, size) uint8: the place in ``SEMANTIC`` of what each pixel shows, 0 where nothing was drawn."""
    values = np.zeros((size, size), dtype=np.uint8)
    for name in PAINT_ORDER:
        for drawn, polygon in crop.polygons:
            if drawn == name:
                values[coco_mask.decode(_mask(polygon, size)) > 0] = SEMANTIC.index(name)
    return values


def _write_picture(crop: Crop, path: Path, size: int) -> None:
    """The published file itself at its own size; else resized and written anew."""
    if size == SIDE:
        shutil.copyfile(crop.file, path)
        return
    again = "cannot be read as a JPEG ({}); get the photographs again"
    with opened(crop.file, "no such picture; get the photographs again", again) as picture:
        small = picture.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    small.save(path, quality=JPEG_QUALITY)


def _dump(path: Path, value: Any, indent: int | None = None) -> None:
    separators = (",", ":") if indent is None else None
    path.write_text(json.dumps(value, indent=indent, separators=separators) + "\n", encoding="utf-8")


def _source(crops: Sequence[Crop], sides: dict[str, str], size: int) -> str:
    counts = {side: sum(sides[crop.photo] == side for crop in crops) for side in ("train", "val")}
    photos = {side: list(sides.values()).count(side) for side in ("train", "val")}
    pictures = (
        "the published JPEG files, byte for byte"
        if size == SIDE
        else f"resized to {size} px (Lanczos) and written as JPEG of quality {JPEG_QUALITY}"
    )
    return f"""# Facade photographs at {size} px

building-facade (Roboflow Universe), CC BY 4.0: {_UNIVERSE}
Published in {HOST}/{REPOSITORY}, commit {COMMIT}.
Licence: {_LICENCE["url"]}

Whoever passes these photographs on has to name the source and the licence, and to say what was changed.

Changed here:

- The pictures are {pictures}.
  Their names are those of the photographs; `annotations/provenance.json` gives the published names.
- Polygons are scaled to {size} px. Objects of less than {_LEAST_AREA} px, or less than {_LEAST_WIDTH} px wide
  or high, at {_JUDGED_AT} px are left out.
- The split is a new one, because the published one puts overlapping crops of one photograph on both sides.
  Runs of photographs taken one after the other stay together: {counts["train"]} pictures of
  {photos["train"]} photographs for training, {counts["val"]} of {photos["val"]} for val.
- The semantic maps are painted from the polygons of all classes, in the order that
  `annotations/semantic_classes.json` gives. Nobody annotated them as maps.
"""


def _fill(root: Path, crops: Sequence[Crop], size: int, progress: bool) -> None:
    sides = split_of({crop.photo for crop in crops})
    for name in ("annotations", "images", "semantic"):
        (root / name).mkdir()
    trees: dict[str, dict[str, Any]] = {
        side: {
            "info": {"description": f"Facade photographs at {size} px, {side}", "version": str(_FORMAT)},
            "licenses": [_LICENCE],
            "images": [],
            "annotations": [],
            "categories": [
                {"id": i + 1, "name": name, "supercategory": "thing"} for i, name in enumerate(THINGS)
            ],
        }
        for side in ("train", "val")
    }
    objects = 0
    for i, crop in enumerate(tqdm(crops, desc=f"pictures of {size} px", unit="img", disable=not progress)):
        tree = trees[sides[crop.photo]]
        file = f"{crop.name}.jpg"
        _write_picture(crop, root / "images" / file, size)
        Image.fromarray(semantic_map(crop, size)).save(root / "semantic" / f"{crop.name}.png")
        tree["images"].append({"id": i + 1, "file_name": file, "width": size, "height": size, "license": 1})
        for row in objects_of(crop, size):
            objects += 1
            tree["annotations"].append({"id": objects, "image_id": i + 1} | row)
    for side, tree in trees.items():
        _dump(root / "annotations" / f"instances_{side}.json", tree)
    classes = {"semantic_classes": SEMANTIC, "paint_order": PAINT_ORDER, "things": THINGS}
    _dump(root / "annotations" / "semantic_classes.json", classes, indent=1)
    provenance = [
        {
            "name": crop.name,
            "photo": crop.photo,
            "crop": crop.number,
            "original_file": crop.file.name,
            "original_split": crop.folder,
            "split": sides[crop.photo],
        }
        for crop in crops
    ]
    _dump(root / "annotations" / "provenance.json", provenance, indent=1)
    (root / "SOURCE.md").write_text(_source(crops, sides, size), encoding="utf-8")
    counts = {side: len(tree["images"]) for side, tree in trees.items()}
    _dump(root / SIDECAR, {"commit": COMMIT, "format": _FORMAT, "size": size, "pictures": counts})


def ensure_facades(
    root: Path,
    size: int,
    original: Path,
    *,
    published: Sequence[PublishedFolder] = PUBLISHED,
    mirror: str | None = None,
    patience: Patience | None = None,
    progress: bool = True,
) -> dict[str, int]:
    """Make the data folder, from a download if need be; one that is there is left as it is.

    Args:
        root: the folder to create.
        size: width and height of the pictures, px: 256 to 1024, the size they were published at.
        original: folder of the published files; they are downloaded into it if it lacks them, and stay there.
        published: what those must be.
        mirror: address to download from, instead of the code host.
        patience: how often and how long to try.
        progress: show progress bars.

    Returns:
        The number of pictures of each split.

    Raises:
        InputError: the size is out of range, ``root`` holds something else, or the published files can't be
            had or are wrong; names the folder or file, and a fix.
    """
    if not SMALLEST <= size <= SIDE:
        raise InputError(f"--size {size}: must be from {SMALLEST} to {SIDE}")
    root = Path(root)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        return _counts_in(root, size)
    get_original(Path(original), published=published, mirror=mirror, patience=patience, progress=progress)
    crops = read_original(Path(original), published)
    require_room(root, sum(part.bytes for part in published) * (size / SIDE) ** 2, "writing the pictures")
    with appears_whole(root) as folder:
        _fill(folder, crops, size, progress)
    return _counts_in(root, size)


def _counts_in(root: Path, size: int) -> dict[str, int]:
    """Pictures of each split in a folder that is complete.

    Raises:
        InputError: it isn't one that would be made now.
    """
    again = f"remove {root} to have it made again, or choose another folder"
    if not (root / SIDECAR).is_file():
        raise InputError(f"{root}: exists and holds no {SIDECAR}; choose another folder")
    found = read_json(root / SIDECAR, again)
    made = found if isinstance(found, dict) else {}
    if made.get("size") != size and isinstance(made.get("size"), int):
        raise InputError(f"{root}: has pictures of {made['size']} px, not {size}; {again}")
    if (made.get("commit"), made.get("format")) != (COMMIT, _FORMAT) or "pictures" not in made:
        raise InputError(f"{root / SIDECAR}: was written by another version of the lab; {again}")
    counts: dict[str, int] = made["pictures"]
    return counts
