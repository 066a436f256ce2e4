"""02: how good are the boxes at each stage, and how far do they still have to go?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from htc_lab.config import Toggles
from htc_lab.course.looked_at import Seen
from htc_lab.layers.boxes import encode_deltas, pairwise_iou
from htc_lab.layers.matching import match
from htc_lab.model import HybridTaskCascade
from htc_lab.trace import StageTrace

_ONES = (1.0, 1.0, 1.0, 1.0)


def toward_truth(boxes: Tensor, truth: Tensor, share: float = 0.5) -> Tensor:
    """A dummy box head: move each box (n, 4) part of the way to the object it overlaps most.

    It is told the truth, so it isn't a model; it only shows what a stage is for.
    """
    wanted = truth[pairwise_iou(boxes, truth).argmax(dim=1)]
    return boxes + share * (wanted - boxes)


@dataclass(frozen=True)
class BoxJourney:
    """The boxes of many scenes at r_0, r_1, ..., r_T.

    Attributes:
        iou: (T + 1, N): the IoU of RoI i, at each step, with the object it overlapped most at the start.
        deltas: for each stage (n, 4): the unscaled deltas from its positives to their objects.
    """

    iou: Tensor
    deltas: list[Tensor]

    def positives(self, least_iou: float) -> list[int]:
        """How many RoIs reach this IoU at r_0, r_1, ..."""
        return [int(n) for n in (self.iou >= least_iou).sum(dim=1)]


def boxes_of(trace: StageTrace) -> list[Tensor]:
    """r_0, r_1, ..., r_T: (N, 4) each."""
    return [trace.stages[0].rois, *(stage.boxes for stage in trace.stages)]


@torch.inference_mode()
def box_journey(
    model: HybridTaskCascade, scenes: Sequence[Seen], toggles: Toggles | None = None
) -> BoxJourney:
    """Follow the RoIs that start near an object (IoU of 0.3 or more) through the cascade."""
    stages = model.config.cascade.stages
    columns: list[Tensor] = []
    deltas: list[list[Tensor]] = [[] for _ in stages]
    for scene in scenes:
        trace = model.cascade(scene.features, scene.proposals, toggles, per_stage_view=False)
        truth = scene.targets.boxes
        boxes = boxes_of(trace)
        best, nearest = pairwise_iou(boxes[0], truth).max(dim=1)
        near = best >= 0.3
        picked = torch.arange(int(near.sum()))
        columns.append(torch.stack([pairwise_iou(b[near], truth)[picked, nearest[near]] for b in boxes]))
        for t, stage in enumerate(stages[: len(trace.stages)]):
            index = match(boxes[t], truth, stage.iou, stage.iou, None).index
            found = index >= 0
            deltas[t].append(encode_deltas(boxes[t][found], truth[index[found]], _ONES))
    return BoxJourney(torch.cat(columns, dim=1), [torch.cat(parts) for parts in deltas])
