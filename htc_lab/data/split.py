"""One annotation file split into train and val."""

import numpy as np

from htc_lab.data.coco import CocoData
from htc_lab.errors import InputError


def split_images(coco: CocoData, seed: int, val_fraction: float) -> tuple[CocoData, CocoData]:
    """Split the images into (train, val); a class on two or more images is on both sides if possible.

    Rare classes go first: each gets one image on either side; the remaining images are distributed at random.

    Raises:
        InputError: fewer than two images.
    """
    ids = [image["id"] for image in coco.images]
    if len(ids) < 2:
        raise InputError(
            f"{coco.path}: has {len(ids)} image; splitting needs two; give --train-json and --val-json"
        )
    order = [ids[i] for i in np.random.default_rng(seed).permutation(len(ids))]
    holders: dict[int, list[int]] = {}
    for image_id in order:
        for category in {row["category_id"] for row in coco.annotations_by_image[image_id]}:
            holders.setdefault(category, []).append(image_id)
    train: set[int] = set()
    val: set[int] = set()
    for _, images in sorted(holders.items(), key=lambda item: (len(item[1]), item[0])):
        if len(images) < 2:
            continue
        for side in (train, val):
            free = [i for i in images if i not in train and i not in val]
            if free and side.isdisjoint(images):
                side.add(free[0])
    wanted = min(max(round(len(ids) * val_fraction), 1), len(ids) - 1)
    for image_id in order:
        if image_id not in train and image_id not in val:
            (val if len(val) < wanted else train).add(image_id)
    if not train:
        train.add(min(val))
        val.discard(min(val))
    return coco.subset(train), coco.subset(val)
