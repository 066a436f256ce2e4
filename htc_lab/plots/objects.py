"""Which detection is which object: matched with the truth, and followed from stage to stage."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.boxes import pairwise_iou
from htc_lab.structures import Detections, Targets
from htc_lab.trace import StageTrace

SAME = 0.5
"""IoU from which two boxes or masks belong to the same object."""


@dataclass(frozen=True)
class Comparison:
    """Detections of one image beside its truth.

    Attributes:
        truth: (n,) int64: the true object each detection found, -1 for a false one.
        mask_iou: (n,) float32: the IoU of its mask with that object, 0 for a false one.
        box_iou: (n,) float32: the same for its box.
        missed: the true objects that no detection found.
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
        """Mean of ``mask_iou`` or ``box_iou`` over all true objects, missed ones as 0; NaN if none exist."""
        total = self.found + len(self.missed)
        return float(iou.sum()) / total if total else float("nan")


def mask_iou(detections: Detections, i: int, targets: Targets, k: int) -> float:
    """IoU of the pixels of detection ``i`` with those of true object ``k``."""
    a, b = detections.masks[i], targets.masks[k].bool()
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 0.0


def compare_with_truth(detections: Detections, targets: Targets, least_iou: float = SAME) -> Comparison:
    """Match detections with the truth as COCO does: best score first, same class, masks.

    Args:
        detections: of one image.
        targets: of the same image, at the same size.
        least_iou: mask IoU from which an object counts as found.
    """
    index = torch.full((len(detections),), -1)
    masks, boxes = torch.zeros(len(detections)), torch.zeros(len(detections))
    box_ious = pairwise_iou(detections.boxes, targets.boxes)
    free = set(range(len(targets.boxes)))
    for i in torch.argsort(detections.scores, descending=True, stable=True).tolist():
        near = [k for k in free if targets.labels[k] == detections.labels[i] and box_ious[i, k] > 0]
        ious = {k: mask_iou(detections, i, targets, k) for k in near}
        best = max(ious, key=ious.__getitem__, default=-1)
        if best >= 0 and ious[best] >= least_iou:
            index[i], masks[i], boxes[i] = best, ious[best], box_ious[i, best]
            free.discard(best)
    return Comparison(index, masks, boxes, tuple(sorted(free)))


def follow(detections: Detections, targets: Targets, truth: Int[Tensor, " n"]) -> Comparison:
    """The IoUs of detections whose true objects are already known, e.g. from the end of the cascade."""
    masks, boxes = torch.zeros(len(detections)), torch.zeros(len(detections))
    box_ious = pairwise_iou(detections.boxes, targets.boxes)
    for i, k in enumerate(truth.tolist()):
        if k >= 0:
            masks[i], boxes[i] = mask_iou(detections, i, targets, k), box_ious[i, k]
    taken = set(truth.tolist())
    return Comparison(truth, masks, boxes, tuple(k for k in range(len(targets.boxes)) if k not in taken))


def select(detections: Detections, which: Tensor) -> Detections:
    """Those at ``which`` (indices or a boolean mask)."""
    return Detections(
        detections.boxes[which], detections.scores[which], detections.labels[which], detections.masks[which]
    )


def stage_view(trace: StageTrace, stage: int) -> Detections:
    """The output of stage ``stage`` (from 0) of a one-image trace: the boxes it passes on, masks, scores.

    The masks are where the stage predicted them: on those boxes if interleaved, otherwise on the ones it
    received.
    """
    view = trace.detections(0, stage, final_boxes=False)
    return dataclasses.replace(view, boxes=trace.stages[stage].boxes[trace.detected])


class ObjectNumbers:
    """Numbers for the objects of one picture that stay the same for all toggles and models.

    A detection gets the next free number when it is first seen. It counts as the same object again if it
    finds the same true object or, if it finds none, if it has the same class and the boxes overlap by half.
    """

    def __init__(self, targets: Targets | None = None, truth_first: bool = False) -> None:
        """See the class.

        Args:
            targets: the picture's truth.
            truth_first: a true object's number is its index in the truth, whether or not it is found.
        """
        self._targets = targets
        self._of_truth: dict[int, int] = {}
        if targets is not None and truth_first:
            self._of_truth = {k: k for k in range(len(targets.boxes))}
        self._of_others: list[tuple[int, int, Tensor]] = []

    def of(self, detections: Detections) -> list[int]:
        """One number per detection, all different."""
        truth: Sequence[int] = [-1] * len(detections)
        if self._targets is not None:
            truth = compare_with_truth(detections, self._targets).truth.tolist()
        numbers: list[int] = []
        for i, k in enumerate(truth):
            if k >= 0:
                numbers.append(self._of_truth.setdefault(k, self._next()))
            else:
                numbers.append(self._other(int(detections.labels[i]), detections.boxes[i : i + 1], numbers))
        return numbers

    def _next(self) -> int:
        return len(self._of_truth) + len(self._of_others)

    def _other(self, label: int, box: Tensor, taken: list[int]) -> int:
        for number, seen_label, seen_box in self._of_others:
            if number not in taken and seen_label == label and float(pairwise_iou(box, seen_box)) >= SAME:
                return number
        number = self._next()
        self._of_others.append((number, label, box))
        return number
