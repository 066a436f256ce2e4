"""Make semantic maps from instance masks: ``python data_scripts/make_semantic_maps.py DIR``."""

import contextlib
import json
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from PIL import Image
from tqdm.auto import tqdm

from htc_lab.data.coco import decode_mask
from htc_lab.data.layout import Split, find_data, map_name
from htc_lab.data.semantic import semantic_from_instances
from htc_lab.errors import InputError
from htc_lab.one_line_errors import one_line
from htc_lab.wording import counted


def write_maps(split: Split, folder: Path) -> int:
    """Write ``folder/<image stem>.png`` for every image of a split; return the number written.

    Pixels of class k get k, all others K, the number of classes. Crowds become 255, which is ignored.
    """
    coco = split.coco
    for image in tqdm(coco.images, desc=f"{split.name} maps", unit="map"):
        height, width = image["height"], image["width"]
        rows = coco.annotations_by_image[image["id"]]
        single = [row for row in rows if not row["iscrowd"]]
        masks = [decode_mask(row, height, width) for row in single]
        labels = np.asarray([coco.label_of[row["category_id"]] for row in single], dtype=np.int64)
        stacked = np.stack(masks) if masks else np.zeros((0, height, width), dtype=np.uint8)
        values = semantic_from_instances(stacked, labels, len(coco.class_names))
        for row in rows:
            if row["iscrowd"]:
                crowd = decode_mask(row, height, width) > 0
                values[crowd & (values == len(coco.class_names))] = 255
        path = folder / map_name(image["file_name"])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values).save(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                path.unlink()
            raise InputError(
                f"{path}: cannot be written ({error.strerror}); free space, or name another --out"
            ) from None
    return len(coco.images)


def main(
    root: Annotated[Path, tyro.conf.Positional],
    out: Path | None = None,
    train_json: Path | None = None,
    val_json: Path | None = None,
    images: Path | None = None,
    overwrite: bool = False,
) -> None:
    """Write single-channel PNG maps (things 0..K-1, background K, crowds 255) for a COCO-format folder.

    Args:
        root: the data folder.
        out: folder for the maps; by default ``semantic`` in the data folder, where the lab finds them.
        train_json: annotation file, if it isn't found.
        val_json: annotation file, if it isn't found.
        images: image folder, if it isn't found.
        overwrite: replace existing maps.
    """
    with one_line():
        data = find_data(root, train_json=train_json, val_json=val_json, images=images)
        folder = out or root / "semantic"
        if folder.exists() and any(folder.iterdir()) and not overwrite:
            raise InputError(
                f"{folder}: is not empty; give --overwrite to replace its maps, or another --out"
            )
        if len(data.class_names) > 253:
            raise InputError(
                f"{data.train.coco.path}: has {len(data.class_names)} classes; a map can hold at most 253"
            )
        splits = [data.train, data.val] + ([data.test] if data.test is not data.val else [])
        names = [map_name(image["file_name"]) for split in splits for image in split.coco.images]
        flat = len(set(names)) == len(names)
        written = sum(write_maps(split, folder if flat else folder / split.name) for split in splits)
        classes = [*data.class_names, "background"]
        text = json.dumps({"semantic_classes": classes}) + "\n"
        (folder / "semantic_classes.json").write_text(text, encoding="utf-8")
    print(f"{folder}: {counted(written, 'map')} of {len(classes)} classes, named in semantic_classes.json")


if __name__ == "__main__":
    tyro.cli(main)
