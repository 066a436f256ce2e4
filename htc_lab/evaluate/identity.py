"""The same object keeps its number, and so its colour, across stages, switches and models."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from htc_lab.evaluate.matching import SAME
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.structures import Targets


@dataclass
class Thing:
    """An object of the picture.

    Attributes:
        label: its class: the truth's, or the one it was first found as.
        box: (4,) where it was seen first.
        truth: which true object it is; None if it is none of them.
        score: the best score it ever got.
    """

    label: int
    box: Tensor
    truth: int | None
    score: float = 0.0


class Identities:
    """Numbers for all objects of a picture. True objects come first, in the truth's order."""

    def __init__(self, targets: Targets | None) -> None:
        self.things: list[Thing] = []
        if targets is not None:
            for k, (label, box) in enumerate(zip(targets.labels.tolist(), targets.boxes, strict=True)):
                self.things.append(Thing(label, box, k))
        self._of_roi: dict[tuple[str, int, int], int] = {}

    @property
    def true(self) -> int:
        """How many of the objects are true ones."""
        return sum(thing.truth is not None for thing in self.things)

    def of(
        self,
        model: str,
        rois: Tensor | None,
        labels: Tensor,
        boxes: Tensor,
        scores: Tensor,
        match: np.ndarray | None,
    ) -> list[int]:
        """One number for each of D detections of a run, all different.

        A detection gets the number of the first of these that no other detection has taken: the true object
        it found; the object that the same RoI of the same model was before, with the same class; the object
        of its class that its box overlaps most, with an IoU of at least one half; an object of another class
        that it overlaps as much. If there is none, it is a new object.

        Args:
            model: whose RoIs they are.
            rois: which RoI each is; None if that is not known.
            labels, boxes, scores: of the detections, best first.
            match: the true object each found, -1 for none; None without a truth.
        """
        kinds = labels.tolist()
        numbers = [-1] * len(kinds) if match is None else match.astype(int).tolist()
        keys = [] if rois is None else [(model, roi, k) for roi, k in zip(rois.tolist(), kinds, strict=True)]
        overlap = self._overlap(boxes)
        classes = np.asarray([thing.label for thing in self.things])
        for find in (
            lambda i: self._of_roi.get(keys[i], -1) if keys else -1,
            lambda i: _nearest(overlap[i], classes == kinds[i], numbers),
            lambda i: _nearest(overlap[i], classes >= 0, numbers),
            lambda i: self._new(kinds[i], boxes[i]),
        ):
            for i in range(len(numbers)):
                if numbers[i] < 0:
                    found = find(i)
                    numbers[i] = -1 if found in numbers else found
        for key, number in zip(keys, numbers, strict=False):
            self._of_roi.setdefault(key, number)
        for score, number in zip(scores.tolist(), numbers, strict=True):
            self.things[number].score = max(self.things[number].score, score)
        return numbers

    def _overlap(self, boxes: Tensor) -> np.ndarray:
        """(D, things) IoU with the objects known so far."""
        if not self.things:
            return np.zeros((len(boxes), 0))
        known = torch.stack([thing.box for thing in self.things])
        overlap: np.ndarray = pairwise_iou(boxes, known).numpy()
        return overlap

    def _new(self, label: int, box: Tensor) -> int:
        self.things.append(Thing(label, box, None))
        return len(self.things) - 1

    def ranks(self) -> list[int]:
        """A new number for each object: true ones keep theirs, the others follow, best score first."""
        true = self.true
        others = sorted(range(true, len(self.things)), key=lambda i: -self.things[i].score)
        new = list(range(len(self.things)))
        for place, i in enumerate(others):
            new[i] = true + place
        return new


def _nearest(overlap: np.ndarray, among: np.ndarray, taken: list[int]) -> int:
    """The free object among some that overlaps the box most; -1 if no IoU reaches one half.

    Args:
        overlap: (things,) IoU of the box.
        among: (things,) bool.
        taken: numbers of other detections, -1 for those without one.
    """
    free = among.copy()
    free[[number for number in taken if 0 <= number < len(free)]] = False
    if not free.any():
        return -1
    best = int(np.where(free, overlap, -1.0).argmax())
    return best if overlap[best] >= SAME else -1
