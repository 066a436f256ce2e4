"""What the truth says of a trace: match, error and IoU of every detection at every stage, and their AP.

The verdicts on a picture are TIDE's error types (:mod:`htc_lab.evaluate.error_types`), by the same function.
Only its "both", a poor mask of another class, counts as background here.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor

from htc_lab.evaluate.coco_ap import coco_results, encode_masks, evaluate
from htc_lab.evaluate.error_types import ErrorType, error_of
from htc_lab.evaluate.matching import NEAR, match_classes
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.structures import Detections, Targets
from htc_lab.trace import StageTrace

FOUND, DUPLICATE, WRONG_CLASS, POOR_MASK, BACKGROUND = range(5)
"""Error types: what is wrong with a detection that found no object of its class."""

_CODES: dict[ErrorType, int] = {
    "duplicate": DUPLICATE,
    "classification": WRONG_CLASS,
    "localisation": POOR_MASK,
    "both": BACKGROUND,
    "background": BACKGROUND,
}


@dataclass(frozen=True)
class Verdict:
    """T + 1 views of D detections, stage 1 to T and the mean, beside the truth.

    Attributes:
        match: (T + 1, D) int16: the true object each found (same class, IoU from 0.5), -1 for none.
        error: (T + 1, D) uint8: FOUND or what is wrong.
        reference: (D,) int16: the true object a detection is compared with; -1 if none is near.
        mask_iou: (T + 1, D) float32, with the reference.
        box_iou: (T + 1, D) float32, with the reference: of the proposal and of stages 1 to T.
        ap: mask AP of the T + 1 views on this picture, in points; None if the truth has no object.
    """

    match: np.ndarray
    error: np.ndarray
    reference: np.ndarray
    mask_iou: np.ndarray
    box_iou: np.ndarray
    ap: list[float | None]


def view(trace: StageTrace, stage: int) -> Detections:
    """What is shown of a one-image trace at a stage: 1 to T, or T + 1 for the mean of the masks.

    At a stage: the boxes it hands on, the scores it alone gives, its masks where it took them.
    """
    if stage > len(trace.stages):
        return trace.detections()
    return trace.said_by(stage - 1)


def judge(trace: StageTrace, keep: Tensor, targets: Targets, truth_codes: list[dict]) -> Verdict:
    """Compare a one-image trace with its truth.

    Args:
        trace: one run.
        keep: (D,) places in the trace of the detections the verdict is about; AP counts all of them.
        targets: n true objects, at the trace's size.
        truth_codes: ``encode_masks`` of the targets' masks.
    """
    stages, n = len(trace.stages), len(targets.boxes)
    views = [view(trace, stage) for stage in range(1, stages + 2)]
    codes = [encode_masks(found.masks) for found in views]
    kept = [found.select(keep) for found in views]
    overlaps = [_overlaps([code[i] for i in keep.tolist()], truth_codes) for code in codes]
    labels, true_labels = kept[-1].labels.numpy(), targets.labels.numpy()
    matches = [
        match_classes(overlap, found.scores.numpy(), labels, true_labels)
        for overlap, found in zip(overlaps, kept, strict=True)
    ]

    reference = matches[-1].astype(np.int16)
    if n and len(keep):
        near = overlaps[-1].argmax(axis=1)
        fits = overlaps[-1].max(axis=1) >= NEAR
        reference = np.where((reference < 0) & fits, near, reference).astype(np.int16)
    boxes = [trace.proposals.rois.boxes[trace.detected[keep]], *(found.boxes for found in kept[:-1])]
    return Verdict(
        match=np.stack(matches).astype(np.int16),
        error=np.stack(
            [errors_of(m, o, labels, true_labels) for m, o in zip(matches, overlaps, strict=True)]
        ),
        reference=reference,
        mask_iou=np.stack([_with_reference(o, reference) for o in overlaps]),
        box_iou=np.stack([_with_reference(pairwise_iou(b, targets.boxes).numpy(), reference) for b in boxes]),
        ap=_ap(views, targets, truth_codes),
    )


def _overlaps(codes: list[dict], truth_codes: list[dict]) -> np.ndarray:
    """(d, n) mask IoU."""
    if not codes or not truth_codes:
        return np.zeros((len(codes), len(truth_codes)))
    return np.asarray(rle.iou(codes, truth_codes, [0] * len(truth_codes)))


def _with_reference(overlap: np.ndarray, reference: np.ndarray) -> np.ndarray:
    known = reference >= 0
    out = np.zeros(len(reference), dtype=np.float32)
    out[known] = overlap[known, reference[known]]
    return out


def errors_of(match: np.ndarray, iou: np.ndarray, labels: np.ndarray, true_labels: np.ndarray) -> np.ndarray:
    """(d,) uint8: FOUND or what is wrong with each detection.

    Args:
        match: (d,) the object each found, -1 for none.
        iou: (d, n) mask IoU.
        labels, true_labels: (d,) and (n,).
    """
    own = labels[:, None] == true_labels[None]
    codes = [
        FOUND if found >= 0 else _CODES[error_of(row, mine, ~mine)[0]]
        for found, row, mine in zip(match, iou, own, strict=True)
    ]
    return np.asarray(codes, dtype=np.uint8)


def _ap(views: list[Detections], targets: Targets, truth_codes: list[dict]) -> list[float | None]:
    if not truth_codes:
        return [None] * len(views)
    height, width = targets.masks.shape[1:]
    classes = sorted({*targets.labels.tolist(), *views[-1].labels.tolist()})
    truth = {
        "images": [{"id": 1, "height": height, "width": width}],
        "categories": [{"id": label + 1, "name": str(label)} for label in classes],
        "annotations": [
            {
                "id": i + 1,
                "image_id": 1,
                "category_id": label + 1,
                "segmentation": code,
                "bbox": [0, 0, 1, 1],
                "area": int(mask.sum()),
                "iscrowd": 0,
            }
            for i, (label, code, mask) in enumerate(
                zip(targets.labels.tolist(), truth_codes, targets.masks, strict=True)
            )
        ],
    }
    ids = range(1, max(classes) + 2)
    found = [evaluate(truth, coco_results(1, each, ids), "segm")["AP"] for each in views]
    return [None if math.isnan(ap) else ap for ap in found]


def masks_of(targets: Targets) -> list[dict]:
    """The truth's masks in COCO's run-length code."""
    return encode_masks(targets.masks.to(torch.bool))
