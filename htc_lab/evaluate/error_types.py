"""What a model's mistakes cost: the error types of TIDE, for masks.

Bolya, Foley, Hays and Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020
(sections 2.2 and 2.3). Each false positive (at mask IoU 0.5) and each object that was not found has one type;
a type costs the AP50 that would be gained by fixing its errors alone (dAP). The six costs don't add up to the
gap to 100: fixing one error changes what the next one costs.

The same types, less finely, are the explorer's verdicts on one picture (:mod:`htc_lab.explorer.judge`).

With ``own`` and ``other`` the highest mask IoU with objects of the detection's class and of other classes:

* duplicate: own >= 0.5, so a better detection has found the object. Fix: remove it.
* classification: other >= 0.5. Fix: give it the object's class.
* localisation: own >= 0.1. Fix: give it the object's mask.
* both: other >= 0.1. Fix: remove it.
* background: the rest. Fix: remove it.
* missed: objects neither found nor the target of a classification or localisation error. Fix: don't ask for
  them.

If several apply, the first one counts. If a fixed detection and another one have the same object, the one
with the higher score is kept.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from htc_lab.evaluate.matching import NEAR, SAME, best_overlap, match
from htc_lab.evaluate.measure import Measure, difference, of_categories, rows_of
from htc_lab.evaluate.overlaps import ImageOverlaps, overlaps
from htc_lab.evaluate.statistics import Category

ErrorType = Literal["classification", "localisation", "both", "duplicate", "background", "missed"]
ERROR_TYPES: tuple[ErrorType, ...] = (
    *("classification", "localisation", "both", "duplicate", "background", "missed"),
)
_MOST = 100  # detections per image and category, as in COCO


@dataclass(frozen=True)
class ErrorTypes:
    """The errors of one model.

    Attributes:
        ap50: mask AP at IoU 0.5, in points.
        dap: points of AP50 gained by fixing a type.
        count: the number of errors of each type, at any score.
    """

    ap50: Measure
    dap: dict[ErrorType, Measure]
    count: dict[ErrorType, int]


@dataclass(frozen=True)
class _Found:
    """A detection and how it was judged.

    Attributes:
        row: index of its image.
        category: as detected, or as fixed.
        score: of the detection.
        hit: whether it finds its object.
        counted: False for one in a crowd region.
        error: the type, for a false positive.
        object: index of the object found, or of the one the error is about; -1: none.
    """

    row: int
    category: int
    score: float
    hit: bool = False
    counted: bool = True
    error: ErrorType | None = None
    object: int = -1


def error_types(truth: dict[str, Any], results: list[dict[str, Any]]) -> ErrorTypes:
    """Sort a model's errors by type and measure what each type costs.

    Args:
        truth: COCO data set, as for ``evaluate``.
        results: COCO result entries with masks.
    """
    rows = rows_of(truth)
    objects = {
        place: (rows[a["image_id"]], a["category_id"])
        for place, a in enumerate(truth["annotations"])
        if not a.get("iscrowd", 0)
    }
    found: list[_Found] = []
    for image in overlaps(truth, results):
        found += _judge(truth, results, image, rows[image.image_id])
    seen = np.zeros(len(rows), dtype=np.bool_)
    seen[[row for row, _ in objects.values()] + [f.row for f in found]] = True

    def measure(found: list[_Found], missed: frozenset[int] = frozenset()) -> Measure:
        return of_categories(_categories(found, objects, missed, len(rows)), seen)

    near = {f.object for f in found if f.hit or f.error in ("classification", "localisation")}
    missed = frozenset(objects.keys() - near)
    plain = measure(found)
    dap: dict[ErrorType, Measure] = {}
    count: dict[ErrorType, int] = {}
    for kind in ERROR_TYPES:
        fixed = measure(found, missed) if kind == "missed" else measure(_fix(found, kind, objects))
        dap[kind] = difference(plain, fixed)
        count[kind] = len(missed) if kind == "missed" else sum(f.error == kind for f in found)
    return ErrorTypes(plain, dap, count)


def _judge(
    truth: dict[str, Any], results: list[dict[str, Any]], image: ImageOverlaps, row: int
) -> list[_Found]:
    """COCO's greedy matching at IoU 0.5, best score first; a detection that finds nothing is an error."""
    annotations = [truth["annotations"][place] for place in image.objects]
    classes = np.asarray([a["category_id"] for a in annotations], dtype=int)
    crowd = np.asarray([bool(a.get("iscrowd", 0)) for a in annotations], dtype=bool)
    used: dict[int, int] = {}
    lines = []
    for line, place in enumerate(image.found):
        category = results[place]["category_id"]
        used[category] = used.get(category, 0) + 1
        if used[category] <= _MOST:
            lines.append(line)
    places, ious = image.found[lines], image.iou[lines]
    categories = np.asarray([results[place]["category_id"] for place in places], dtype=int)
    own = categories[:, None] == classes[None]
    judged = []
    for place, iou, mine, target in zip(places, ious, own, match(ious, own & ~crowd), strict=True):
        here = _Found(row, results[place]["category_id"], results[place]["score"])
        if target >= 0:
            here = replace(here, hit=True, object=int(image.objects[target]))
        elif best_overlap(iou, mine & crowd)[1] >= SAME:
            here = replace(here, counted=False)
        else:
            error, target = error_of(iou, mine & ~crowd, ~mine & ~crowd)
            here = replace(here, error=error, object=int(image.objects[target]) if target >= 0 else -1)
        judged.append(here)
    return judged


def error_of(iou: np.ndarray, own: np.ndarray, other: np.ndarray) -> tuple[ErrorType, int]:
    """The type of a false positive and the object it is about, -1 for none.

    Args:
        iou: (g,) mask IoU of the detection with all objects.
        own: (g,) bool: those of its class.
        other: (g,) bool: those of other classes.
    """
    nearest, same = best_overlap(iou, own)
    stranger, different = best_overlap(iou, other)
    if same >= SAME:
        return "duplicate", nearest
    if different >= SAME:
        return "classification", stranger
    if same >= NEAR:
        return "localisation", nearest
    if different >= NEAR:
        return "both", stranger
    return "background", -1


def _fix(found: list[_Found], kind: ErrorType, objects: dict[int, tuple[int, int]]) -> list[_Found]:
    """The detections with the errors of one type fixed."""
    if kind not in ("classification", "localisation"):
        return [f for f in found if f.error != kind]
    right = [
        replace(f, category=objects[f.object][1], hit=True, error=None) if f.error == kind else f
        for f in found
    ]
    best: dict[int, _Found] = {}
    for f in right:
        if f.hit and (f.object not in best or f.score > best[f.object].score):
            best[f.object] = f
    return [f for f in right if not f.hit or best[f.object] is f]


def _categories(
    found: list[_Found], objects: dict[int, tuple[int, int]], missed: frozenset[int], images: int
) -> dict[int, Category]:
    """Detections and objects in AP order, for one IoU threshold, without the ``missed`` objects."""
    everything: dict[int, np.ndarray] = {}
    asked: dict[int, np.ndarray] = {}
    for place, (row, category) in objects.items():
        for counts in (everything, asked):
            counts.setdefault(category, np.zeros(images, dtype=np.int64))
        everything[category][row] += 1
        asked[category][row] += place not in missed
    grouped: dict[int, list[_Found]] = {category: [] for category in everything}
    for f in found:
        if f.category in grouped:
            grouped[f.category].append(f)
    categories = {}
    for category, group in grouped.items():
        group.sort(key=lambda f: -f.score)
        places = np.asarray([f.row for f in group], dtype=int)
        hit = np.asarray([[f.hit for f in group]], dtype=bool)
        counted = np.asarray([[f.counted for f in group]], dtype=bool)
        wanted = asked[category]
        if not wanted.any():
            # Nothing is left to find: AP is perfect if there is no false detection either, otherwise 0.
            wanted = everything[category]
            if not counted.any():
                places = np.repeat(np.arange(images), wanted)
                hit = counted = np.ones((1, len(places)), dtype=bool)
        categories[category] = Category(places, hit, counted, wanted)
    return categories
