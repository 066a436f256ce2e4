"""Which object each detection of an image found, by COCO's rule: best score first, same class, mask IoU."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from htc_lab.layers.boxes import pairwise_iou
from htc_lab.structures import Detections, Targets

SAME = 0.5
"""IoU from which two boxes or masks are the same object's."""

NEAR = 0.1
"""Mask IoU under which a detection is of nothing in the truth (TIDE's limit to the background)."""


def best_overlap(iou: np.ndarray, among: np.ndarray) -> tuple[int, float]:
    """The place and value of the highest IoU among some objects; -1 and 0 if there are none.

    If several are equal, the last one counts, as in COCO.

    Args:
        iou: (g,) of one detection with all objects.
        among: (g,) bool.
    """
    if not among.any():
        return -1, 0.0
    place = len(iou) - 1 - int(np.argmax(np.where(among, iou, -1.0)[::-1]))
    return place, float(iou[place])


def match(iou: np.ndarray, may: np.ndarray) -> np.ndarray:
    """COCO's greedy matching: each detection takes the free object that it overlaps most, from ``SAME`` on.

    Args:
        iou: (d, g) mask IoU; best score first.
        may: (d, g) bool: which objects a detection may take, e.g. those of its class.

    Returns:
        (d,) the object each found, -1 for none.
    """
    found = np.full(len(iou), -1)
    free = np.ones(iou.shape[1], dtype=bool)
    for i, (row, allowed) in enumerate(zip(iou, may, strict=True)):
        place, reach = best_overlap(row, allowed & free)
        if reach >= SAME:
            found[i] = place
            free[place] = False
    return found


def match_classes(
    iou: np.ndarray, scores: np.ndarray, labels: np.ndarray, true_labels: np.ndarray
) -> np.ndarray:
    """:func:`match` of detections in any order with the objects of their class.

    Args:
        iou: (d, g) mask IoU.
        scores, labels: (d,) of the detections.
        true_labels: (g,) of the objects.

    Returns:
        (d,) the object each found, -1 for none.
    """
    order = np.argsort(-scores, kind="stable")
    found = np.empty(len(order), dtype=int)
    found[order] = match(iou[order], labels[order, None] == true_labels[None])
    return found


def mask_ious(
    masks: Bool[Tensor, "d H W"], true_masks: Tensor, pairs: Bool[Tensor, "d g"]
) -> Float[np.ndarray, "d g"]:
    """Mask IoU of some pairs of a detection and an object; 0 for all others.

    Args:
        masks: of the detections.
        true_masks: (g, H, W) of the objects, uint8 or bool.
        pairs: which ones to look at; those whose boxes overlap are quickly found.
    """
    known = true_masks.bool()
    iou = np.zeros(tuple(pairs.shape))
    for i, k in torch.nonzero(pairs).tolist():
        union = int((masks[i] | known[k]).sum())
        iou[i, k] = int((masks[i] & known[k]).sum()) / union if union else 0.0
    return iou


@dataclass(frozen=True)
class Comparison:
    """Detections of one image beside its truth.

    Attributes:
        truth: (n,) int64: the ground truth each detection found, -1 for a false one.
        mask_iou: (n,) float32: its mask's IoU with that truth, 0 for a false one.
        box_iou: (n,) float32: the same of its box.
        missed: the ground truths that no detection found.
    """

    truth: Int[Tensor, " n"]
    mask_iou: Float[Tensor, " n"]
    box_iou: Float[Tensor, " n"]
    missed: tuple[int, ...]

    @property
    def found(self) -> int:
        """How many objects were found."""
        return int((self.truth >= 0).sum())

    @property
    def false(self) -> int:
        """How many detections found no object."""
        return len(self.truth) - self.found

    def mean(self, iou: Float[Tensor, " n"]) -> float:
        """Mean of ``mask_iou`` or ``box_iou`` over all true objects, missed ones as 0; NaN without any."""
        total = self.found + len(self.missed)
        return float(iou.sum()) / total if total else float("nan")


def compare_with_truth(detections: Detections, targets: Targets) -> Comparison:
    """Match detections with the truth.

    Args:
        detections: of one image.
        targets: of the same image, at the same size.
    """
    box_ious = pairwise_iou(detections.boxes, targets.boxes)
    same = detections.labels[:, None] == targets.labels[None]
    iou = mask_ious(detections.masks, targets.masks, same & (box_ious > 0))
    labels, scores = detections.labels.numpy(), detections.scores.numpy()
    found = torch.from_numpy(match_classes(iou, scores, labels, targets.labels.numpy()))
    return _compared(found, torch.from_numpy(iou).float(), box_ious)


def follow(detections: Detections, targets: Targets, truth: Int[Tensor, " n"]) -> Comparison:
    """The IoUs of detections whose ground truths are known already, e.g. from the end of the cascade."""
    known = truth[:, None] == torch.arange(len(targets.boxes))[None]
    iou = mask_ious(detections.masks, targets.masks, known)
    return _compared(truth, torch.from_numpy(iou).float(), pairwise_iou(detections.boxes, targets.boxes))


def _compared(found: Tensor, masks: Tensor, boxes: Tensor) -> Comparison:
    """The IoU of each detection with the object it found, of (n, g) tables of masks and boxes."""
    here = torch.nonzero(found >= 0).squeeze(1)
    mask_iou, box_iou = torch.zeros(len(found)), torch.zeros(len(found))
    mask_iou[here], box_iou[here] = masks[here, found[here]], boxes[here, found[here]]
    taken = set(found.tolist())
    return Comparison(found, mask_iou, box_iou, tuple(k for k in range(masks.shape[1]) if k not in taken))
