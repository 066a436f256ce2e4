"""What a data set has that would go wrong silently, in one sentence for each kind.

Nothing here is an error by itself: a picture turned by EXIF, a map without classes, boxes written as corners.
Each is read in the way the sentence says, and the sentence says what to do if something else was meant.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from htc_lab.data.coco import CocoData, Row, decode_mask
from htc_lab.data.layout import DataFolder, Split, map_name
from htc_lab.data.pictures import PictureFacts, picture_facts
from htc_lab.data.rle import extent_of
from htc_lab.data.semantic import IGNORED, SemanticClasses, read_semantic_map
from htc_lab.data.unused_maps import folder_like_maps
from htc_lab.errors import InputError
from htc_lab.wording import counted, listed

SOME = 200
"""Of each split so many pictures, objects and maps, spread evenly, are looked at unless all are asked for."""

# A box and an outline drawn by different rules may differ by so many pixels.
_SLACK = 2.0
_MOST = 0.5
_ENOUGH, _SHARE = 5, 0.1
# The brightest that 12 bits can be in 16, after both were brought to 8.
_DARK = 15

Item = TypeVar("Item")


@dataclass(frozen=True)
class Notice:
    """One kind of thing to know about a data set.

    Attributes:
        code: the kind, one word.
        splits: where it is.
        message: what there is, how it is read, and what to do if that is wrong.
    """

    code: str
    splits: tuple[str, ...]
    message: str

    def __str__(self) -> str:
        return f"{listed(self.splits)}: {self.message}"


def notices(data: DataFolder, semantic: SemanticClasses | None, most: int | None = SOME) -> list[Notice]:
    """Everything to know about a data set before it is used.

    Args:
        data: the data set.
        semantic: the meaning of its maps; None: no maps are used.
        most: how many pictures, objects and maps of each split are looked at, spread evenly; None: all.
    """
    splits = [data.train, data.val, *([] if data.test is data.val else [data.test])]
    found: list[Notice | None] = []
    found += picture_notices({split.name: facts_of(split, most) for split in splits})
    found.append(corner_notice(splits, most))
    if semantic is not None:
        found.append(left_aside_notice(data.root, splits))
        if data.train.semantic is not None:
            found.append(one_value_notice(data.train.semantic, _held(data.train, data.train.semantic, most)))
    return [notice for notice in found if notice is not None]


def spread(items: Sequence[Item], most: int | None) -> Sequence[Item]:
    """At most ``most`` of the items, evenly spread."""
    return items if most is None or len(items) <= most else items[:: -(-len(items) // most)]


def facts_of(split: Split, most: int | None) -> list[PictureFacts]:
    """How the pictures of a split are read; those that can't be read are left out."""
    facts = []
    for image in spread(split.coco.images, most):
        with suppress(InputError):
            facts.append(picture_facts(split.images / image["file_name"], image["height"], image["width"]))
    return facts


def picture_notices(facts: Mapping[str, Sequence[PictureFacts]]) -> list[Notice | None]:
    """Marks of EXIF, and more than 8 bits: what a viewer doesn't show.

    Args:
        facts: of the pictures of each split.
    """
    return [_turned(facts), _deep(facts)]


def _turned(facts: Mapping[str, Sequence[PictureFacts]]) -> Notice | None:
    marked = [f.turned for own in facts.values() for f in own if f.turned]
    if not marked:
        return None
    splits = tuple(split for split, own in facts.items() if any(f.turned for f in own))
    counts = Counter(marked)
    parts = []
    if counts["turned"]:
        parts.append(f"{_are(counts['turned'])} read turned, as the annotated size says")
    if counts["undecided"]:
        parts.append(
            f"{_are(counts['undecided'])} read turned, as predict and image viewers do, although the "
            "annotated size fits both ways (square, mirrored or upside down)"
        )
    if counts["stored"]:
        parts.append(
            f"{_are(counts['stored'])} read unturned, as the annotated size says, but predict turns such "
            "files"
        )
    fix = ""
    if counts["stored"] or counts["undecided"]:
        fix = (
            "; if the outlines were drawn on unturned pictures, remove the mark from the files "
            "(exiftool -Orientation= FILES)"
        )
    looked = sum(map(len, facts.values()))
    message = (
        f"{len(marked)} of {counted(looked, 'picture')} looked at have an EXIF orientation: "
        f"{'; '.join(parts)}{fix}"
    )
    return Notice("exif", splits, message)


def _are(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'}"


def _deep(facts: Mapping[str, Sequence[PictureFacts]]) -> Notice | None:
    deep = [f for own in facts.values() for f in own if f.bits > 8]
    if not deep:
        return None
    splits = tuple(split for split, own in facts.items() if any(f.bits > 8 for f in own))
    bits = listed([str(bits) for bits in sorted({f.bits for f in deep})])
    looked = sum(map(len, facts.values()))
    message = (
        f"{len(deep)} of {counted(looked, 'picture')} looked at have {bits} bits a channel; the upper 8 are "
        "used"
    )
    dark = [f for f in deep if f.brightest <= _DARK]
    if dark:
        message += (
            f"; {len(dark)} of them are nearly black then (at most {max(f.brightest for f in dark)} of 255), "
            "as are 12 bits in a file of 16: write their values times 16, or save them with 8 bits"
        )
    return Notice("bits", splits, message)


def corner_notice(splits: Sequence[Split], most: int | None) -> Notice | None:
    """Boxes written as x1, y1, x2, y2, which nothing but their objects tells from x, y, width, height."""
    found = []
    for split in splits:
        pairs = [
            (row, image)
            for image in split.coco.images
            for row in split.coco.annotations_by_image[image["id"]]
            if not row["iscrowd"]
        ]
        if _hold_corners([_look_at_box(*pair) for pair in spread(pairs, most)]):
            found.append(split)
    if not found:
        return None
    files = listed(list(dict.fromkeys(split.coco.path.name for split in found)))
    message = (
        f"bbox in {files} seems to hold x1, y1, x2, y2; it is read as COCO's x, y, width, height, so boxes "
        "are too large: write it so"
    )
    return Notice("bbox", tuple(split.name for split in found), message)


@dataclass(frozen=True)
class _Box:
    """How an object's box may have been meant.

    Attributes:
        as_corners: whether it fits its object only as two corners (True) or only as COCO's boxes do (False);
            None: either way, or neither.
        possible: whether it would be a box within its picture if it were two corners.
        leaves: whether it leaves its picture as COCO's box.
    """

    as_corners: bool | None
    possible: bool
    leaves: bool


def _hold_corners(boxes: Sequence[_Box]) -> bool:
    tell = [box.as_corners for box in boxes if box.as_corners is not None]
    if any(tell) and sum(tell) >= _MOST * len(tell):
        return True
    # Outlines made of boxes that were read wrongly fit these. But boxes of COCO's kind don't all have a width
    # above their x and a height above their y and still stay in their pictures.
    leaving = sum(box.leaves for box in boxes)
    return len(boxes) >= _ENOUGH and all(box.possible for box in boxes) and leaving >= _SHARE * len(boxes)


def _look_at_box(row: Row, image: Row) -> _Box:
    box = np.asarray(row["bbox"], dtype=float)
    size = np.array([image["width"], image["height"]] * 2, dtype=float)
    usual = np.concatenate([box[:2], box[:2] + box[2:]])
    possible = bool((box[2:] > box[:2]).all() and (box <= size + _SLACK).all())
    leaves = bool((usual > size + _SLACK).any())
    mask = decode_mask(row, image["height"], image["width"])
    if not mask.any():
        return _Box(None, possible, leaves)
    extent = np.clip(extent_of(row["segmentation"], mask), 0, size)
    fits, fits_as_corners = (
        float(np.abs(np.clip(read, 0, size) - extent).max()) <= _SLACK for read in (usual, box)
    )
    return _Box(None if fits == fits_as_corners else fits_as_corners, possible, leaves)


def left_aside_notice(root: Path, splits: Sequence[Split]) -> Notice | None:
    """Semantic maps that are there and aren't used."""
    train = splits[0]
    if train.semantic is not None:
        return None
    made = "the maps are made from the instance masks instead"
    others = [split for split in splits if split.semantic is not None]
    if others:
        message = (
            f"its pictures have no semantic maps, but those of {others[0].name} do ({others[0].semantic}); "
            f"{made}: add maps for train, or name their folder with --semantic"
        )
        return Notice("maps", ("train",), message)
    likely = folder_like_maps(root, splits)
    if likely is None:
        return None
    folder, example = likely
    name = map_name(train.coco.images[0]["file_name"])
    message = (
        f"{folder} looks like semantic maps ({example}) and is not used; {made}: if they are maps, name the "
        f"folder with --semantic and each map like its picture ({name})"
    )
    return Notice("maps", ("train",), message)


def one_value_notice(folder: Path, values: Iterable[bytes | np.ndarray]) -> Notice | None:
    """Maps in which there is nothing to tell apart.

    Args:
        folder: of the maps of train.
        values: the values that each map holds.
    """
    present = np.zeros(256, dtype=bool)
    for held in values:
        present[np.frombuffer(held, dtype=np.uint8)] = True
    classes = [int(value) for value in np.flatnonzero(present) if value != IGNORED]
    if len(classes) > 1 or not present.any():
        return None
    if present[IGNORED]:
        what = f"{classes[0]} and 255 only" if classes else "255 only"
        fix = "255 means ignored: write 1 for what is 255 now"
    else:
        what, fix = f"nothing but {classes[0]}", "give maps that hold the values of at least two classes"
    message = (
        f"the semantic maps {folder} hold {what}, which leaves the semantic branch nothing to learn; {fix}"
    )
    return Notice("maps", ("train",), message)


def _held(split: Split, folder: Path, most: int | None) -> Iterator[np.ndarray]:
    """The values in each of a split's maps that can be read."""
    for image in spread(split.coco.images, most):
        path = folder / map_name(image["file_name"])
        with suppress(InputError):
            yield np.unique(read_semantic_map(path, image["height"], image["width"], None))


def cap_notice(split: str, coco: CocoData, cap: int, raise_it: str) -> Notice | None:
    """Pictures with more objects than a model reports.

    Args:
        split: train, val or test.
        coco: its annotations.
        cap: the model's most detections of a picture.
        raise_it: the flag or field that raises it.
    """
    counts = {
        image["file_name"]: sum(not row["iscrowd"] for row in coco.annotations_by_image[image["id"]])
        for image in coco.images
    }
    over = [name for name, count in counts.items() if count > cap]
    if not over:
        return None
    fullest = max(over, key=lambda name: counts[name])
    message = (
        f"{len(over)} of {counted(len(counts), 'picture')} have more objects than the {cap} detections the "
        f"model reports (up to {counts[fullest]}, {fullest}), so some can't be found; raise it with "
        f"{raise_it}"
    )
    return Notice("detections", (split,), message)


def identical_notice(digests: Mapping[str, Mapping[str, str]]) -> Notice | None:
    """The same picture in two splits, whatever its files are called.

    Args:
        digests: split -> file name -> digest of the pixels.
    """
    first: dict[str, tuple[str, str]] = {}
    pairs = []
    for split, files in digests.items():
        for name, digest in files.items():
            other = first.setdefault(digest, (split, name))
            if other[0] != split:
                pairs.append((other, (split, name)))
    if not pairs:
        return None
    (one, one_name), (two, two_name) = pairs[0]
    message = (
        f"{counted(len(pairs), 'picture')} also in another split, pixel by pixel (such as {two_name}, which "
        f"is {one_name} of {one}), so AP there is too good; keep each picture in one split"
    )
    return Notice("leak", (two,), message)
