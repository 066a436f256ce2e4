"""What the linter says about the semantic maps of a whole data set, after every map has been read."""

from pathlib import Path

import numpy as np

from htc_lab.data.check.image import Finding, ImageResult
from htc_lab.data.layout import DataFolder, Split
from htc_lab.data.semantic import IGNORED, UNKNOWN, SemanticClasses, semantic_classes
from htc_lab.errors import InputError

# COCO-Stuff's maps hold each thing's category id minus one.
_COCO_STUFF = "COCO-Stuff"
_POOR, _FAIR = 0.5, 0.8
_FEW_PIXELS = 50


Inside = dict[int, np.ndarray]
"""Category id -> (256,) int64: pixels of each value of the maps inside the objects of that category."""


def map_findings(
    root: Path, splits: list[Split], results: list[ImageResult], inside: dict[str, Inside]
) -> tuple[list[Finding], list[str]]:
    """Values that are not a class, palettes, and maps that contradict the instance masks.

    Args:
        root: the data folder.
        splits: the splits that were checked.
        results: the results of all their images.
        inside: the totals of each split.

    Returns:
        The findings, and notes on what could not be checked.
    """
    with_maps = [split for split in splits if split.semantic]
    if not with_maps:
        return [], ["no semantic maps: the lab makes them from the instance masks"]
    findings = [
        Finding(
            "warning",
            "map-missing",
            split.name,
            f"{split.coco.path}: its images have no semantic maps, but those of {with_maps[0].name} do",
        )
        for split in splits
        if not split.semantic
    ]
    for split in with_maps:
        palettes = sum(result.palette for result in results if result.split == split.name)
        if palettes:
            message = (
                f"{split.semantic}: {palettes} maps are palette PNGs; the lab uses their indices, but other "
                "programs may use their colours"
            )
            findings.append(Finding("warning", "map-palette", split.name, message))
    sound = [result for result in results if result.values is not None]
    try:
        classes = _classes(root, with_maps, sound)
    except InputError as error:
        return [*findings, Finding("error", "map", with_maps[0].name, str(error))], []
    if classes is None:
        return findings, ["no valid semantic map: their values were not checked"]
    findings += _unknown_values(sound, classes)
    named = bool(_expected(with_maps[0], classes))
    for split in with_maps:
        findings += (_agreement if named else _distinct)(split, inside[split.name], classes)
    note = (
        "the maps' values have no names, so only whether they distinguish the classes was checked; "
        "name them in semantic_classes.json to have them compared with the instance masks"
    )
    return findings, [] if named else [note]


def _classes(root: Path, splits: list[Split], sound: list[ImageResult]) -> SemanticClasses | None:
    """What the values mean, judging by the maps that can be read."""
    parts = []
    for split in splits:
        ids = {result.image_id for result in sound if result.split == split.name}
        if ids:
            parts.append(Split(split.name, split.coco.subset(ids), split.images, split.semantic))
    if not parts:
        return None
    first, last = parts[0], parts[-1]
    folder = DataFolder(root, first, parts[1] if len(parts) > 1 else last, last, first.coco.class_names)
    return semantic_classes(folder)


def _unknown_values(sound: list[ImageResult], classes: SemanticClasses) -> list[Finding]:
    findings = []
    for result in sound:
        present = np.frombuffer(result.values or b"", dtype=np.uint8)
        wrong = present[classes.lookup[present] == UNKNOWN]
        if len(wrong):
            shown = ", ".join(map(str, wrong[:5])) + (", ..." if len(wrong) > 5 else "")
            message = f"{result.map_path}: holds {shown}, which is not a class ({classes.source})"
            findings.append(Finding("error", "map-value", result.split, message))
    return findings


def _expected(split: Split, classes: SemanticClasses) -> dict[int, int]:
    """Category id -> class index that the maps use for it, if that is known."""
    if classes.source.startswith(_COCO_STUFF):
        return {category: category - 1 for category in split.coco.category_ids}
    names = zip(split.coco.category_ids, split.coco.class_names, strict=True)
    return {category: classes.names.index(name) for category, name in names if name in classes.names}


def _agreement(split: Split, inside: Inside, classes: SemanticClasses) -> list[Finding]:
    """Do the maps show each class where its masks are? Pixels that the maps ignore are not counted."""
    names = dict(zip(split.coco.category_ids, split.coco.class_names, strict=True))
    findings = []
    for category, index in _expected(split, classes).items():
        counts = inside.get(category, np.zeros(256, dtype=np.int64))
        by_index = np.bincount(classes.lookup, weights=counts, minlength=256)
        by_index[IGNORED] = 0
        total = by_index.sum()
        if total < _FEW_PIXELS or by_index[index] >= _FAIR * total:
            continue
        share, most = by_index[index] / total, int(by_index.argmax())
        shifted = abs(most - index) == 1 and by_index[most] > _FAIR * total
        hint = "; the values seem to be shifted by one (class indices start at 0)" if shifted else ""
        seen = "values that are not a class" if most == UNKNOWN else str(most)
        message = (
            f"{split.semantic}: class {names[category]!r} should be {index}, but only {share:.0%} of the "
            f"pixels in its masks are; most are {seen}{hint}"
        )
        findings.append(Finding("error" if share < _POOR else "warning", "map-masks", split.name, message))
    return findings


def _distinct(split: Split, inside: Inside, classes: SemanticClasses) -> list[Finding]:
    """Do maps of unknown meaning have a separate value for each class?"""
    names = dict(zip(split.coco.category_ids, split.coco.class_names, strict=True))
    owners: dict[int, list[str]] = {}
    findings = []
    for category, counts in inside.items():
        known = np.where(classes.lookup == IGNORED, 0, counts)
        if known.sum() < _FEW_PIXELS:
            continue
        most = int(known.argmax())
        if known[most] < _POOR * known.sum():
            message = (
                f"{split.semantic}: no value stands for class {names[category]!r}: the most frequent one "
            )
            message += f"in its masks, {most}, has {known[most] / known.sum():.0%} of the pixels"
            findings.append(Finding("warning", "map-masks", split.name, message))
        owners.setdefault(most, []).append(names[category])
    for value, members in owners.items():
        if len(members) > 1:
            shown = ", ".join(members[:8]) + (", ..." if len(members) > 8 else "")
            message = f"{split.semantic}: the value {value} stands for {len(members)} classes: {shown}"
            findings.append(Finding("warning", "map-masks", split.name, message))
    return findings
