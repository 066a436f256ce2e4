"""Semantic maps: reading them, and making them if there are none.

A map is (H, W) uint8: class indices 0..S-1, 255 ignored. On disk it is a PNG with one channel (or a palette
PNG, whose indices are used), whose values a lookup table turns into indices.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from htc_lab.data.layout import DataFolder, Split, map_name
from htc_lab.data.pictures import opened
from htc_lab.errors import InputError
from htc_lab.files import read_json
from htc_lab.wording import counted

IGNORED = 255
UNKNOWN = 254
"""In a lookup table: a value that no map of the data set may hold."""

MOST_THINGS = 253
"""In a map made from masks, which needs a value for the background, too."""

_COCO_THINGS, _COCO_STUFF_CLASSES = 80, 183
_COCO_SPLITS = ("train2017", "val2017")


@dataclass(frozen=True, eq=False)
class SemanticClasses:
    """What the values of a data set's maps mean.

    Attributes:
        count: S, number of classes.
        lookup: (256,) uint8, value in the file -> class index; 255 ignored, 254 not allowed.
        source: where this is known from, for people to read.
        names: names of the S classes, if they are known.
        from_instances: whether maps are made from the instance masks.
    """

    count: int
    lookup: np.ndarray = field(repr=False)
    source: str
    names: tuple[str, ...] = ()
    from_instances: bool = False


def semantic_from_instances(masks: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """A map of things only: pixels of class k -> k, all others -> K. Small objects lie on top of large ones.

    Args:
        masks: (n, H, W) uint8.
        labels: (n,) int, 0..K-1.
        num_classes: K, at most 253.

    Returns:
        (H, W) uint8.
    """
    semantic = np.full(masks.shape[1:], num_classes, dtype=np.uint8)
    areas = masks.reshape(len(masks), -1).sum(axis=1, dtype=np.int64) if len(masks) else np.zeros(0)
    for i in np.argsort(-areas, kind="stable"):
        semantic[masks[i] > 0] = labels[i]
    return semantic


def _read_values(path: Path) -> np.ndarray:
    """The values in the file: (H, W) uint8."""
    missing = "no such semantic map; add it, or remove the folder to work without maps"
    with opened(path, missing, "cannot be read as a PNG ({}); write the map again") as picture:
        values = np.asarray(picture)
    if values.ndim == 3:
        if values.shape[2] < 3 or (values[..., :1] != values[..., 1:3]).any():
            raise InputError(
                f"{path}: is a colour picture, not a map of class indices; save one channel whose values are "
                "the indices (a palette PNG will do)"
            )
        values = values[..., 0]
    if values.dtype == bool:
        values = values.astype(np.uint8)
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.round(values))).all():
        raise InputError(f"{path}: holds fractions; class indices must be whole numbers from 0 to 253")
    if values.min() < 0 or values.max() > IGNORED:
        raise InputError(
            f"{path}: holds values from {values.min()} to {values.max()}; class indices must be from 0 to "
            "253, and 255 means ignored"
        )
    return values.astype(np.uint8)


def read_semantic_map(path: Path, height: int, width: int, lookup: np.ndarray | None) -> np.ndarray:
    """Read a map: (height, width) uint8 class indices, 255 ignored.

    Args:
        lookup: (256,) uint8, value -> index; None leaves the values as they are.

    Raises:
        InputError: the file is missing, has more than one channel or the wrong size, or holds a value that
            the data set doesn't have.
    """
    path = Path(path)
    values = _read_values(path)
    if values.shape != (height, width):
        raise InputError(
            f"{path}: is {values.shape[1]}x{values.shape[0]} px (width x height), but its image is "
            f"{width}x{height}; make the map the same size as the image"
        )
    if lookup is None:
        return values
    indices = lookup[values]
    if (indices == UNKNOWN).any():
        wrong = int(values[indices == UNKNOWN].min())
        raise InputError(
            f"{path}: holds the value {wrong}, which is not a class of this data set; correct the map, or "
            "list the class in semantic_classes.json (255 means ignored)"
        )
    return indices


def _identity(count: int) -> np.ndarray:
    lookup = np.full(256, UNKNOWN, dtype=np.uint8)
    lookup[:count] = np.arange(count)
    lookup[IGNORED] = IGNORED
    return lookup


def _named_classes(root: Path, maps: Path) -> SemanticClasses | None:
    """What ``semantic_classes.json`` says: {"semantic_classes": [name of value 0, name of value 1, ...]}."""
    for folder in (root, root / "annotations", maps, maps.parent):
        path = folder / "semantic_classes.json"
        if not path.is_file():
            continue
        tree = read_json(path, "correct it")
        names = tree.get("semantic_classes") if isinstance(tree, dict) else None
        if not (
            isinstance(names, list) and 1 <= len(names) <= 254 and all(isinstance(n, str) for n in names)
        ):
            raise InputError(
                f"{path}: field 'semantic_classes' must be a list of 1 to 254 names, one for each value"
            )
        return SemanticClasses(
            len(names),
            _identity(len(names)),
            f"{counted(len(names), 'class', 'classes')} of {path}",
            tuple(names),
        )
    return None


def _all_maps_there(split: Split) -> None:
    if split.semantic is None:
        return
    owners: dict[Path, str] = {}
    for image in split.coco.images:
        path = split.semantic / map_name(image["file_name"])
        other = owners.setdefault(path, image["file_name"])
        if other != image["file_name"]:
            raise InputError(
                f"{path}: would be the semantic map of two images of {split.name}, {other} and "
                f"{image['file_name']}; rename one of them"
            )
        if not path.is_file():
            raise InputError(
                f"{path}: no such semantic map, although other images of {split.name} have one; add it, or "
                "remove the folder to have the maps made from the instance masks"
            )


def _scan(split: Split, folder: Path) -> SemanticClasses:
    """Number the values in the maps of a split, in order; values that only occur elsewhere are ignored."""
    present = np.zeros(256, dtype=bool)
    for image in tqdm(split.coco.images, desc="semantic maps", unit="map", leave=False):
        present[_read_values(folder / map_name(image["file_name"]))] = True
    present[IGNORED] = False
    values = np.flatnonzero(present)
    if not 1 <= len(values) <= 254:
        raise InputError(
            f"{folder}: the maps hold {len(values)} different values; 1 to 254 classes are possible"
        )
    lookup = np.full(256, IGNORED, dtype=np.uint8)
    lookup[values] = np.arange(len(values))
    return SemanticClasses(
        len(values), lookup, f"{counted(len(values), 'value')} present in the training maps {folder}"
    )


def semantic_classes(data: DataFolder) -> SemanticClasses:
    """What the maps of a data set mean, or how they are made if it has none.

    In this order: ``semantic_classes.json``; COCO-Stuff's own maps (80 things and
    ``stuffthingmaps/{train,val}2017``) with its 183 classes; otherwise the values present in the
    training maps. Without training maps: the K things and the background.

    Raises:
        InputError: a map is broken, or is missing although others of its split exist.
    """
    for split in (data.train, data.val, data.test):
        _all_maps_there(split)
    folder = data.train.semantic
    things = len(data.class_names)
    if folder is None:
        if things > MOST_THINGS:
            raise InputError(
                f"{data.train.coco.path}: has {things} classes, and semantic maps made from masks can hold "
                f"at most {MOST_THINGS}; give maps of at most 254 classes with --semantic, or train without "
                "the semantic branch (htc-lab train --toggles mask_flow)"
            )
        names = (*data.class_names, "background")
        source = f"made from the instance masks: {counted(things, 'class', 'classes')} and background"
        return SemanticClasses(things + 1, _identity(things + 1), source, names, from_instances=True)
    named = _named_classes(data.root, folder)
    if named is not None:
        return named
    if things == _COCO_THINGS and folder.parent.name == "stuffthingmaps" and folder.name in _COCO_SPLITS:
        source = f"COCO-Stuff: {_COCO_STUFF_CLASSES} classes, {folder}"
        return SemanticClasses(_COCO_STUFF_CLASSES, _identity(_COCO_STUFF_CLASSES), source)
    return _scan(data.train, folder)


def semantic_if_needed(data: DataFolder, needed: bool) -> SemanticClasses | None:
    """:func:`semantic_classes`; for a model without a semantic branch, None where there can be no maps.

    Raises:
        InputError: maps are needed, and are broken, missing or impossible.
    """
    try:
        return semantic_classes(data)
    except InputError:
        if needed:
            raise
        return None
