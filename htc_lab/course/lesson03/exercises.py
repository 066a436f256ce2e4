"""03: which boxes a mask head is trained on, and what it should draw there."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import roi_align

from htc_lab.course.exercise import Case, Exercise, Mistake
from htc_lab.course.shared_draws import generator_of, shaken, some_boxes, some_masks, whole
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.layers.mask_targets import mask_targets
from htc_lab.layers.matching import match
from htc_lab.stages.interleaved import mask_rois
from htc_lab.structures import RoIs


def mask_boxes(boxes: list[Tensor], stage: int, interleaved: bool, training: bool) -> Tensor:
    """The boxes on which stage ``stage`` (from 1) predicts its masks; ``boxes`` are r_0, ..., r_T."""
    if not training:
        return boxes[-1]
    received, refined = (RoIs.of([boxes[t]]) for t in (stage - 1, stage))
    return mask_rois(received, refined, interleaved).boxes


def _boxes_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    boxes = [some_boxes(g, whole(g, 3, 6))]
    for _ in range(3):
        boxes.append(shaken(g, boxes[-1], len(boxes[0]), 0.1))
    return [
        Case(
            f"stage {stage}, interleaved={interleaved}, training={training}",
            (boxes, stage, interleaved, training),
        )
        for training in (True, False)
        for interleaved in (True, False)
        for stage in (1, 2, 3)
    ]


def _test_as_training(boxes: list[Tensor], stage: int, interleaved: bool, training: bool) -> Any:
    return boxes[stage if interleaved else stage - 1]


def _always_received(boxes: list[Tensor], stage: int, interleaved: bool, training: bool) -> Any:
    return boxes[stage - 1] if training else boxes[-1]


def _one_late(boxes: list[Tensor], stage: int, interleaved: bool, training: bool) -> Any:
    return boxes[min(stage + interleaved, 3)] if training else boxes[-1]


WHICH = Exercise(
    "03.1",
    "mask_boxes",
    "The boxes of mask stage t",
    mask_boxes,
    _boxes_cases,
    "boxes[0] are the proposals, and boxes[t] are the boxes after box stage t. Eq. 1 and eq. 2 differ in one "
    "index, and at test time neither matters.",
    (
        Mistake(
            _test_as_training,
            "This is right in training. At test time every mask head works on the *final* boxes, boxes[-1].",
        ),
        Mistake(
            _always_received,
            "`interleaved` makes no difference in your answer. With it, a stage uses the boxes it has just "
            "refined.",
        ),
        Mistake(_one_late, "One index too far: r_t is boxes[t], since boxes[0] are the proposals, r_0."),
    ),
)


def mask_target(mask: Tensor, box: Tensor, size: int) -> Tensor:
    """The true mask (H, W) seen through ``box`` on a size x size grid, 0 or 1."""
    return mask_targets(mask[None], torch.zeros(1, dtype=torch.int64), box[None], size)[0]


def _target_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    height, width = whole(g, 24, 32), whole(g, 36, 48)
    mask = torch.from_numpy(some_masks(g, 1, height, width)[0])
    rows, columns = torch.nonzero(mask.any(dim=1)), torch.nonzero(mask.any(dim=0))
    tight = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
    inner = tight + torch.tensor([1.3, 0.8, -1.6, -0.9]) * (tight[2:] - tight[:2]).repeat(2) / 8
    outer = torch.tensor([-3.4, -2.2, float(tight[2]) + 0.7, float(tight[3]) + 0.4])
    return [
        Case("a box inside the picture", (mask, inner, 14)),
        Case("the same box at 28 × 28", (mask, inner, 28)),
        Case("a box that extends beyond the picture", (mask, outer, 14)),
    ]


def _by_roi_align(aligned: bool = True, cut: bool = True, clip: bool = True) -> Any:
    def answer(mask: Tensor, box: Tensor, size: int) -> Tensor:
        limit = torch.tensor([mask.shape[1], mask.shape[0]] * 2)
        box = torch.minimum(box.clamp(min=0), limit) if clip else box
        rois = torch.cat([torch.zeros(1), box])[None]
        soft = roi_align(mask[None, None].float(), rois, (size, size), 1.0, 0, aligned=aligned)[0, 0]
        return (soft >= 0.5).float() if cut else soft

    return answer


def _whole_pixels(mask: Tensor, box: Tensor, size: int) -> Any:
    x1, y1, x2, y2 = (int(v) for v in box.clamp(min=0).round())
    crop = mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)].float()
    return (F.interpolate(crop[None, None], size=(size, size), mode="bilinear")[0, 0] >= 0.5).float()


TARGET = Exercise(
    "03.3",
    "mask_target",
    "Mask targets",
    mask_target,
    _target_cases,
    "Clip the box to the picture, then call `roi_align(mask as (1, 1, H, W), rois (1, 5) with a leading 0, "
    "(size, size), 1.0, 0, aligned=True)`; the target is 1 where at least half of a cell is object.",
    (
        Mistake(_by_roi_align(aligned=False), "Half a pixel off: RoIAlign needs `aligned=True`."),
        Mistake(_by_roi_align(cut=False), "The target is 0 or 1: apply a threshold of one half (>= 0.5)."),
        Mistake(_by_roi_align(clip=False), "Clip the box to the picture first."),
        Mistake(
            _whole_pixels,
            "You round the box to whole pixels. The mask head's features are pooled from the exact box, so "
            "its target must come from the exact box, too.",
        ),
    ),
)


def mask_positives(
    refined: Tensor, from_truth: Tensor, truth: Tensor, least_iou: float
) -> tuple[Tensor, Tensor]:
    """The refined boxes an interleaved mask head is trained on, and the object of each."""
    refined = refined[~from_truth]
    index = match(refined, truth, least_iou, least_iou, None).index
    return refined[index >= 0], index[index >= 0]


def _positives_cases(seed: int) -> list[Case]:
    g = generator_of(seed)
    truth = some_boxes(g, whole(g, 2, 4))
    refined = torch.cat([shaken(g, truth, len(truth), 0.02), shaken(g, truth, whole(g, 20, 30), 0.25)])
    from_truth = torch.arange(len(refined)) < len(truth)
    shuffled = torch.randperm(len(refined), generator=g)
    return [
        Case(
            f"{len(refined)} refined boxes, IoU {least}",
            (refined[shuffled], from_truth[shuffled], truth, least),
        )
        for least in (0.6, 0.7)
    ]


def _keeps_truth(refined: Tensor, from_truth: Tensor, truth: Tensor, least_iou: float) -> Any:
    return mask_positives(refined, torch.zeros_like(from_truth), truth, least_iou)


def _old_threshold(refined: Tensor, from_truth: Tensor, truth: Tensor, least_iou: float) -> Any:
    return mask_positives(refined, from_truth, truth, 0.5)


def _all_refined(refined: Tensor, from_truth: Tensor, truth: Tensor, least_iou: float) -> Any:
    refined = refined[~from_truth]
    return refined, pairwise_iou(refined, truth).argmax(dim=1)


POSITIVES = Exercise(
    "03.2",
    "mask_positives",
    "What an interleaved mask head learns on",
    mask_positives,
    _positives_cases,
    "Three steps: drop the boxes that started as ground truth, match the others again (your 02.1 does that), "
    "and keep those that have an object.",
    (
        Mistake(
            _keeps_truth,
            "Boxes that started as ground truth are still included. They teach the head that boxes are "
            "always perfect.",
        ),
        Mistake(_old_threshold, "You match at 0.5. Match the refined boxes at the threshold given."),
        Mistake(
            _all_refined, "Background is still included: a mask head learns only on boxes with an object."
        ),
    ),
    points=3,
)

EXERCISES = (WHICH, POSITIVES, TARGET)
