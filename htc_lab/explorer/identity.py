"""Which detection is which object over stages, switches and models: it keeps its number and colour."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from htc_lab.layers.boxes import pairwise_iou
from htc_lab.plots.objects import SAME
from htc_lab.structures import Targets


@dataclass
class Thing:
    """An object of the picture.

    Attributes:
        label: its class: the truth's, or the one it was first found as.
        box: (4,) where it was seen first.
        truth: which true object it is; None for what the truth does not know.
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

    def of(
        self,
        model: str,
        rois: Tensor,
        labels: Tensor,
        boxes: Tensor,
        scores: Tensor,
        match: np.ndarray | None,
    ) -> list[int]:
        """One number for each of D detections of a run, all different.

        A detection is, of these, the first that no other one is already: the true object it found; what the
        same RoI of the same model was before, as the same class; the object of its class that its box
        overlaps most, by half at least; such an object of another class (it is called something else now).
        Else it is a new object.

        Args:
            model: whose RoIs they are.
            rois, labels, boxes, scores: of the detections, best first.
            match: the true object each found, -1 where none; None without a truth.
        """
        numbers = [-1] * len(rois) if match is None else match.astype(int).tolist()
        kinds = labels.tolist()
        keys = [(model, roi, label) for roi, label in zip(rois.tolist(), kinds, strict=True)]
        for find in (
            lambda i: self._of_roi.get(keys[i], -1),
            lambda i: self._nearest(boxes[i], set(numbers), kinds[i]),
            lambda i: self._nearest(boxes[i], set(numbers), None),
            lambda i: self._new(kinds[i], boxes[i]),
        ):
            for i in range(len(numbers)):
                if numbers[i] < 0:
                    found = find(i)
                    numbers[i] = -1 if found in numbers else found
        for i, number in enumerate(numbers):
            self._of_roi.setdefault(keys[i], number)
            thing = self.things[number]
            thing.score = max(thing.score, float(scores[i]))
        return numbers

    def _nearest(self, box: Tensor, taken: set[int], label: int | None) -> int:
        """The free object, of that class if one is given, which overlaps the box most; -1 where none does."""
        free = [i for i, thing in enumerate(self.things) if i not in taken and label in (None, thing.label)]
        if not free:
            return -1
        overlap = pairwise_iou(box[None], torch.stack([self.things[i].box for i in free]))[0]
        best = int(overlap.argmax())
        return free[best] if float(overlap[best]) >= SAME else -1

    def _new(self, label: int, box: Tensor) -> int:
        self.things.append(Thing(label, box, None))
        return len(self.things) - 1

    def ranks(self) -> list[int]:
        """A new number for each object: true ones keep theirs, the others follow, best score first."""
        true = sum(thing.truth is not None for thing in self.things)
        others = sorted(range(true, len(self.things)), key=lambda i: -self.things[i].score)
        new = list(range(len(self.things)))
        for place, i in enumerate(others):
            new[i] = true + place
        return new
