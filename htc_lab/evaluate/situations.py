"""Where a model is good: mask AP and recall of the objects in one situation, and the decoys it falls for.

A situation is a subset of the objects: the occluded, the thin, ... The other objects neither have to be found
nor count as missed, and detections of them don't count, as COCO does it with ranges of area. Each detection
is assigned to one object for all IoU thresholds: the one its mask overlaps most, regardless of class, if the
IoU is at least ``NEAR``. Detections of no object are false in every situation, so AP is lower in situations
with fewer objects; compare models within a situation, not situations with each other.

Visible masks don't overlap, so a mask can only match (IoU >= 0.5) the object it is assigned to: the AP of all
objects is COCO's own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from htc_lab.evaluate.coco_ap import match_images
from htc_lab.evaluate.matching import NEAR, SAME
from htc_lab.evaluate.measure import Measure, precision, rows_of, share
from htc_lab.evaluate.overlaps import overlaps

MATCH = SAME
"""Mask IoU from which on a detection finds its object, for recall; box IoU from which on it is of a decoy."""

SCORE = 0.5
"""Detections with at least this score count for recall and for decoys."""

OCCLUDED = 0.1
"""An object is occluded if more than this share of it is hidden by other objects."""

_SMALL, _LARGE = 32.0**2, 96.0**2


@dataclass(frozen=True)
class Situation:
    """A subset of the objects.

    Attributes:
        name: for JSON.
        words: for people.
        holds: whether the object of an annotation belongs to it.
    """

    name: str
    words: str
    holds: Callable[[dict[str, Any]], bool]


ALL = Situation("all", "all objects", lambda _: True)
SCENE_SITUATIONS: tuple[Situation, ...] = (
    Situation("occluded", "occluded", lambda a: a["attributes"]["occluded"] > OCCLUDED),
    Situation("thin", "thin parts", lambda a: a["attributes"]["thin"]),
    Situation("small", "small", lambda a: a["attributes"]["small"]),
    Situation("touching", "touching their like", lambda a: a["attributes"]["touching"]),
    Situation("holes", "with holes", lambda a: a["attributes"]["holes"]),
    Situation("truncated", "cut by the edge", lambda a: a["attributes"]["truncated"]),
)
SIZE_SITUATIONS: tuple[Situation, ...] = (
    Situation("small", "small (below 32² px)", lambda a: a["area"] < _SMALL),
    Situation("medium", "medium", lambda a: _SMALL <= a["area"] < _LARGE),
    Situation("large", "large (96² px and up)", lambda a: a["area"] >= _LARGE),
)


@dataclass(frozen=True)
class InSituation:
    """One model in one situation, in points.

    Attributes:
        objects: how many there are to find.
        mask_ap: their mask AP.
        recall: the share found (IoU >= ``MATCH``, right class) by detections with a score of at least
            ``SCORE``.
    """

    objects: int
    mask_ap: Measure
    recall: Measure


def has_scene_attributes(truth: dict[str, Any]) -> bool:
    """Whether every object's attributes say which of the scenes' situations it is in."""
    wanted = {situation.name for situation in SCENE_SITUATIONS}
    objects = _objects(truth)
    return bool(objects) and all(wanted <= (a.get("attributes") or {}).keys() for a in objects)


def situations_of(truth: dict[str, Any]) -> list[Situation]:
    """All objects, then the situations that have any: the scenes' if known, otherwise COCO's sizes."""
    chosen = SCENE_SITUATIONS if has_scene_attributes(truth) else SIZE_SITUATIONS
    objects = _objects(truth)
    return [ALL, *(s for s in chosen if any(s.holds(a) for a in objects))]


def _objects(truth: dict[str, Any]) -> list[dict[str, Any]]:
    return [a for a in truth["annotations"] if not a.get("iscrowd", 0)]


def owners(truth: dict[str, Any], results: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """The object each detection is assigned to.

    Returns:
        (d,) index of the object in the truth's annotations, -1 for none, and (d,) bool, whether the detection
        finds it: IoU >= ``MATCH`` and the right class.
    """
    owner, finds = np.full(len(results), -1), np.zeros(len(results), dtype=np.bool_)
    classes = np.asarray([a["category_id"] for a in truth["annotations"]])
    crowd = np.asarray([bool(a.get("iscrowd", 0)) for a in truth["annotations"]])
    for image in overlaps(truth, results):
        if not image.iou.size or crowd[image.objects].all():
            continue
        single = ~crowd[image.objects]
        objects, iou = image.objects[single], image.iou[:, single]
        called = np.asarray([results[place]["category_id"] for place in image.found])
        own = (called[:, None] == classes[objects]) & (iou >= MATCH)
        # Where true masks overlap, an object of the right class takes precedence over a nearer one.
        nearest = np.argmax(iou + own, axis=1)
        lines = np.arange(len(image.found))
        owner[image.found] = np.where(iou[lines, nearest] >= NEAR, objects[nearest], -1)
        finds[image.found] = own[lines, nearest]
    return owner, finds


def measure_situations(
    truth: dict[str, Any], results: list[dict[str, Any]], situations: list[Situation]
) -> dict[str, InSituation]:
    """Measure a model in each situation; the results by the situations' names.

    Args:
        truth: COCO data set; its annotations have the attributes that the situations need.
        results: COCO result entries with masks.
        situations: see :func:`situations_of`.
    """
    rows = rows_of(truth)
    owner, _ = owners(truth, results)
    found = {}
    for situation in situations:
        inside = np.asarray(
            [bool(a.get("iscrowd", 0)) or bool(situation.holds(a)) for a in truth["annotations"]] + [True]
        )
        # An owner of -1, no object, reads the True at the end.
        counted = [entry for entry, place in zip(results, owner, strict=True) if inside[place]]
        kept = [a for a, stays in zip(truth["annotations"], inside[:-1], strict=True) if stays]
        only = {**truth, "annotations": kept}
        matches = match_images(only, counted, "segm")
        there, objects = _found_by_image(matches, rows)
        found[situation.name] = InSituation(
            objects=int(objects.sum()),
            mask_ap=precision(matches, rows),
            recall=share(there, objects),
        )
    return found


def _found_by_image(matches: list[dict[str, Any]], rows: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """By image, (n,): objects found at IoU 0.5 by detections scoring at least ``SCORE``, and all objects.

    Better detections choose their objects first, so those above ``SCORE`` match as if there were no others.
    """
    found, objects = np.zeros(len(rows), dtype=int), np.zeros(len(rows), dtype=int)
    for match in matches:
        row = rows[match["image_id"]]
        objects[row] += sum(match["gtInDenominator"])
        if len(match["dtScores"]):
            hit, ignored = (np.asarray(match[field][0], dtype=bool) for field in ("dtMatched", "dtIgnore"))
            found[row] += int((hit & ~ignored & (np.asarray(match["dtScores"]) >= SCORE)).sum())
    return found, objects


def measure_decoys(truth: dict[str, Any], results: list[dict[str, Any]]) -> Measure | None:
    """The share of decoys that are taken for the thing they look like; None if the truth names no decoys.

    A decoy is taken if there is a detection of that class with a score of at least ``SCORE`` whose box has an
    IoU of at least ``MATCH`` with the decoy's and which finds no true object. (The scenes list boxes of
    decoys, but no masks.)
    """
    rows = rows_of(truth)
    ids = {category["name"]: category["id"] for category in truth["categories"]}
    decoys, taken = np.zeros(len(rows), dtype=int), np.zeros(len(rows), dtype=int)
    _, finds = owners(truth, results)
    boxes: dict[tuple[int, int], list[Sequence[int | float]]] = {}
    for entry, hit in zip(results, finds, strict=True):
        if entry["score"] >= SCORE and not hit:
            boxes.setdefault((entry["image_id"], entry["category_id"]), []).append(entry["bbox"])
    for image in truth["images"]:
        for decoy in image.get("decoys") or []:
            row = rows[image["id"]]
            decoys[row] += 1
            near = boxes.get((image["id"], ids[decoy["looks_like"]]), [])
            taken[row] += any(_box_iou(decoy["bbox"], box) >= MATCH for box in near)
    return share(taken, decoys) if decoys.any() else None


def _box_iou(a: Sequence[int | float], b: Sequence[int | float]) -> float:
    """IoU of two boxes [x, y, width, height]."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(wide, 0.0) * max(high, 0.0)
    return common / max(a[2] * a[3] + b[2] * b[3] - common, 1e-9)
