"""Why a true object was not found: the RoI that came nearest to it, and where that one was dropped."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from htc_lab.config import CascadeConfig
from htc_lab.evaluate.matching import SAME
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.structures import Targets
from htc_lab.trace import StageTrace

NO_PROPOSAL, MOVED_AWAY, LOW_SCORE, SUPPRESSED, CROWDED_OUT, TAKEN = range(6)
"""Reasons: no proposal lies on it; the stages moved the nearest away; its RoIs score too low as its class; a
better box of its class overlaps the RoI's too much (NMS; soft-NMS: so its score fell); more detections than
a picture may have; the RoI's detection counts as another object, or scores too low at every stage to be kept
here."""


@dataclass(frozen=True)
class Lost:
    """L true objects that no detection found, and for each the RoI that is followed.

    Attributes:
        truth: (L,) int16: which objects.
        why: (L,) uint8: a reason.
        nearest: (L,) float32: the best IoU that any proposal has with it.
        boxes: (T + 1, L, 4) float32: the RoI as proposal and after stages 1 to T.
        box_iou: (T + 1, L) float32: of those with the object.
        scores: (T + 1, L) float32: the RoI's score as the object's class at stages 1 to T, and their mean.
        called: (L,) int16: the class for which the RoI scores best; -1: background.
        called_score: (L,) float32: that score.
        by: (L,) int16: the detection (its place among all of the trace) that suppressed it; -1: none.
    """

    truth: np.ndarray
    why: np.ndarray
    nearest: np.ndarray
    boxes: np.ndarray
    box_iou: np.ndarray
    scores: np.ndarray
    called: np.ndarray
    called_score: np.ndarray
    by: np.ndarray


def find_lost(trace: StageTrace, targets: Targets, objects: list[int], config: CascadeConfig) -> Lost:
    """Follow the RoIs that came nearest to some true objects.

    For each object that is the one with the best score for its class among those whose final box has an IoU
    of 0.5 or more with it; without any, it is the one with the best final box.

    Args:
        trace: of one image.
        targets: its truth, at the trace's size.
        objects: the objects' places in the truth.
        config: the model's thresholds.
    """
    boxes = [trace.proposals.rois.boxes, *(record.boxes for record in trace.stages)]
    ious = torch.stack([pairwise_iou(each, targets.boxes) for each in boxes])
    soft = torch.stack([record.class_logits.softmax(dim=1) for record in trace.stages])
    mean = torch.stack([record.class_logits for record in trace.stages]).mean(dim=0).softmax(dim=1)
    rows = []
    for k in objects:
        label, final = int(targets.labels[k]), ious[-1, :, k]
        on_it = torch.nonzero(final >= SAME).squeeze(1)
        roi = int(on_it[mean[on_it, label].argmax()]) if len(on_it) else int(final.argmax())
        why, by = _reason(trace, ious[:, :, k], roi, label, float(mean[roi, label]), config)
        named = int(mean[roi].argmax())
        background = named == mean.shape[1] - 1
        rows.append(
            (
                k,
                why,
                float(ious[0, :, k].max()),
                torch.stack([each[roi] for each in boxes]),
                ious[:, roi, k],
                torch.cat([soft[:, roi, label], mean[roi, label][None]]),
                -1 if background else named,
                float(mean[roi, named]),
                by,
            )
        )
    stages = len(trace.stages)
    return Lost(
        truth=np.asarray([row[0] for row in rows], dtype=np.int16),
        why=np.asarray([row[1] for row in rows], dtype=np.uint8),
        nearest=np.asarray([row[2] for row in rows], dtype=np.float32),
        boxes=_stacked([row[3] for row in rows], (stages + 1, 0, 4)),
        box_iou=_stacked([row[4] for row in rows], (stages + 1, 0)),
        scores=_stacked([row[5] for row in rows], (stages + 1, 0)),
        called=np.asarray([row[6] for row in rows], dtype=np.int16),
        called_score=np.asarray([row[7] for row in rows], dtype=np.float32),
        by=np.asarray([row[8] for row in rows], dtype=np.int16),
    )


def _reason(
    trace: StageTrace, ious: Tensor, roi: int, label: int, score: float, config: CascadeConfig
) -> tuple[int, int]:
    """The reason, and the detection that suppressed it or -1."""
    if float(ious[-1, roi]) < SAME:
        return (NO_PROPOSAL if float(ious[0].max()) < SAME else MOVED_AWAY), -1
    if score <= config.score_threshold:
        return LOW_SCORE, -1
    if bool(((trace.detected == roi) & (trace.labels == label)).any()):
        return TAKEN, -1
    soft = config.soft_nms
    # With soft-NMS the detections scored better once this RoI's score had fallen, at whatever overlap counts.
    better = trace.scores >= (score if soft is None else 0.0)
    same = torch.nonzero((trace.labels == label) & better).squeeze(1)
    if len(same):
        overlap = pairwise_iou(trace.stages[-1].boxes[roi][None], trace.boxes[same])[0]
        limit = config.nms_iou if soft is None else soft.iou if soft.decay == "linear" else 0.0
        if float(overlap.max()) > limit:
            return SUPPRESSED, int(same[overlap.argmax()])
    return CROWDED_OUT, -1


def _stacked(columns: list[Tensor], empty: tuple[int, ...]) -> np.ndarray:
    """(rows, L, ...) float32."""
    if not columns:
        return np.zeros(empty, dtype=np.float32)
    return torch.stack(columns, dim=1).cpu().numpy().astype(np.float32)
