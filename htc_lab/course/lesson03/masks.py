"""03 and 04: mask heads on boxes other than their own, and mask features from other boxes."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from htc_lab.config import Toggles
from htc_lab.course.lesson02.boxes import boxes_of
from htc_lab.course.looked_at import Seen
from htc_lab.evaluate.matching import compare_with_truth
from htc_lab.layers.boxes import pairwise_iou
from htc_lab.layers.mask_head import MaskHead
from htc_lab.layers.pasting import paste
from htc_lab.model import HybridTaskCascade
from htc_lab.stages import mask_flow, plain_cascade
from htc_lab.structures import RoIs, Targets
from htc_lab.trace import StageTrace

_LEAST_SCORE = 0.3

Fuse = Callable[[Tensor, Tensor | None, Callable[[Tensor], Tensor] | None], Tensor]


def mask_iou(logits: Tensor, boxes: Tensor, targets: Targets, truth: Tensor) -> Tensor:
    """(n,) IoU of mask logits (n, h, w), pasted onto their boxes, with the true masks ``truth`` (n,)."""
    height, width = targets.masks.shape[-2:]
    pixels = paste(logits.sigmoid(), boxes, height, width)
    true = targets.masks[truth].bool()
    overlap = (pixels & true).flatten(1).sum(dim=1)
    return overlap / (pixels | true).flatten(1).sum(dim=1).clamp(min=1)


def found_objects(trace: StageTrace, targets: Targets) -> tuple[Tensor, Tensor]:
    """Indices in the trace of the detections that found an object, and the object of each."""
    chosen = torch.nonzero(trace.scores >= _LEAST_SCORE).squeeze(1)
    found = trace.detections().above(_LEAST_SCORE)
    truth = compare_with_truth(found, targets).truth
    return chosen[truth >= 0], truth[truth >= 0]


@torch.inference_mode()
def heads_on_boxes(
    model: HybridTaskCascade, scenes: Sequence[Seen], toggles: Toggles | None = None
) -> Tensor:
    """Mean mask IoU of each stage's mask head on r_0, r_1, ..., r_T, over the objects found: (T, T + 1)."""
    toggles = toggles or model.config.toggles
    cascade, parts = model.roi_head, []
    for scene in scenes:
        trace = model.cascade(scene.features, scene.proposals, toggles, per_stage_view=False)
        which, truth = found_objects(trace, scene.targets)
        if not len(which):
            continue
        table = []
        for boxes in boxes_of(trace):
            here = RoIs.of([boxes[trace.detected[which]]])
            x = cascade.mask_features(scene.features, here, toggles)
            logits = cascade.all_masks(x, trace.labels[which], toggles)
            table.append(torch.stack([mask_iou(one, here.boxes, scene.targets, truth) for one in logits]))
        parts.append(torch.stack(table, dim=1))
    return torch.cat(parts, dim=2).mean(dim=2)


@dataclass(frozen=True)
class MaskBoxes:
    """The boxes a mask head works on, each given by its IoU with its object.

    Attributes:
        plain: by stage, the positives it is trained on by eq. 1.
        interleaved: by stage, those by eq. 2.
        test: the final boxes of the objects found, the same for every stage.
    """

    plain: list[Tensor]
    interleaved: list[Tensor]
    test: Tensor


@torch.inference_mode()
def mask_training_boxes(model: HybridTaskCascade, scenes: Sequence[Seen], seed: int = 0) -> MaskBoxes:
    """The boxes that eq. 1 and eq. 2 would train this model's mask heads on, and those at test time.

    As in training: sampled at each stage's IoU with the ground truth added, refined, and for eq. 2 matched
    and sampled again.
    """
    cascade, stages = model.roi_head, range(model.config.toggles.stages)
    toggles = dataclasses.replace(model.config.toggles, interleaved=True)
    generator = torch.Generator().manual_seed(seed)
    plain: list[list[Tensor]] = [[] for _ in stages]
    inter: list[list[Tensor]] = [[] for _ in stages]
    test = []
    for scene in scenes:
        features, rois = scene.features.for_pooling(), scene.proposals.rois
        training = cascade.training_stages(features, rois, [scene.targets], toggles, generator)
        for t, seen in enumerate(training):
            # By eq. 1 the mask head gets the positives of the box head.
            by_eq_1 = seen.samples.select(seen.samples.positive)
            for chosen, store in ((by_eq_1, plain), (seen.for_masks, inter)):
                # Ground-truth boxes are added in both ways and would only make a spike at 1.
                own = chosen.select(~chosen.from_truth)
                iou = pairwise_iou(own.rois.boxes, scene.targets.boxes)
                store[t].append(iou[torch.arange(len(own.rois)), own.truth])
        trace = model.cascade(scene.features, scene.proposals, per_stage_view=False)
        which, truth = found_objects(trace, scene.targets)
        test.append(pairwise_iou(trace.boxes[which], scene.targets.boxes)[torch.arange(len(which)), truth])
    return MaskBoxes([torch.cat(x) for x in plain], [torch.cat(x) for x in inter], torch.cat(test))


def chained_masks(
    model: HybridTaskCascade, x: Tensor, earlier: Tensor, labels: Tensor, fuse: Fuse | None = None
) -> Tensor:
    """Mask logits (N, h, w) of the last stage.

    Args:
        model: with mask information flow.
        x: the RoI feature of the last stage's boxes.
        earlier: the RoI feature that the heads before it see: x itself in eq. 5, or that of other boxes.
        labels: (N,).
        fuse: F(x, m-, G) in place of the lab's own.
    """
    heads = cast(list[MaskHead], list(model.roi_head.mask_head))
    previous: Tensor | None = None
    for head in heads:
        here = x if head is heads[-1] else earlier
        seen = mask_flow.fuse(head, here, previous) if fuse is None else fuse(here, previous, head.conv_res)
        previous = head.trunk(seen)
    assert previous is not None
    return heads[-1].class_logits(previous, labels)


@dataclass(frozen=True)
class KeptOrRerun:
    """Mean mask IoU of stage 3, by how far the earlier stages' boxes were from its own.

    Attributes:
        box_iou: (k,) mean IoU of the earlier boxes with stage 3's.
        kept: (k,) with the mask features kept from those boxes.
        rerun: with the earlier heads run again on stage 3's boxes.
        without: without any flow.
    """

    box_iou: Tensor
    kept: Tensor
    rerun: float
    without: float


@torch.inference_mode()
def kept_or_rerun(
    model: HybridTaskCascade,
    scenes: Sequence[Seen],
    shifts: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
    fuse: Fuse | None = None,
    seed: int = 0,
) -> KeptOrRerun:
    """Stage 3's masks with mask features kept from boxes that were ``shifts`` box sizes away.

    Args:
        model: with mask information flow.
        scenes: in at least one of which the model finds an object.
        shifts: in widths and heights of the box, in a random direction for each object.
        fuse: as in :func:`chained_masks`.
        seed: for the directions.
    """
    toggles = model.config.toggles
    generator = torch.Generator().manual_seed(seed)
    rerun, without = [], []
    kept: list[list[Tensor]] = [[] for _ in shifts]
    overlap: list[list[Tensor]] = [[] for _ in shifts]
    for scene in scenes:
        trace = model.cascade(scene.features, scene.proposals, toggles, per_stage_view=False)
        which, truth = found_objects(trace, scene.targets)
        if not len(which):
            continue
        boxes, labels = trace.boxes[which], trace.labels[which]
        x = model.roi_head.mask_features(scene.features, RoIs.of([boxes]), toggles)
        last = cast(MaskHead, model.roi_head.mask_head[-1])
        alone = plain_cascade.masks_in_parallel([last], x, labels)[0]
        rerun.append(mask_iou(chained_masks(model, x, x, labels, fuse), boxes, scene.targets, truth))
        without.append(mask_iou(alone, boxes, scene.targets, truth))
        angle = torch.rand(len(boxes), generator=generator) * 2 * torch.pi
        way = torch.stack([angle.cos(), angle.sin()], dim=1) * (boxes[:, 2:] - boxes[:, :2])
        for i, shift in enumerate(shifts):
            moved = boxes + shift * way.repeat(1, 2)
            earlier = model.roi_head.mask_features(scene.features, RoIs.of([moved]), toggles)
            logits = chained_masks(model, x, earlier, labels, fuse)
            kept[i].append(mask_iou(logits, boxes, scene.targets, truth))
            overlap[i].append(pairwise_iou(moved, boxes).diagonal())
    return KeptOrRerun(
        torch.stack([torch.cat(part).mean() for part in overlap]),
        torch.stack([torch.cat(part).mean() for part in kept]),
        float(torch.cat(rerun).mean()),
        float(torch.cat(without).mean()),
    )


def loss_reach(model: HybridTaskCascade, scene: Seen, flow: bool) -> dict[str, float]:
    """Norm of the gradient that stage 3's mask loss alone sends into each part, by the part's name.

    Args:
        model: with mask information flow.
        scene: its true boxes serve as RoIs.
        flow: run with the flow or without it.
    """
    heads = cast(list[MaskHead], list(model.roi_head.mask_head))
    rois = RoIs.of([scene.targets.boxes])
    features = scene.features
    # Only the reach within the mask heads is of interest, so the features need no gradient.
    with torch.no_grad():
        x = model.roi_head.mask_features(features, rois, model.config.toggles)
    labels = scene.targets.labels
    if flow:
        logits = mask_flow.last_mask_with_flow(heads, x, labels)
    else:
        logits = plain_cascade.masks_in_parallel(heads[-1:], x, labels)[0]
    logits.square().mean().backward()
    parts: dict[str, list[Tensor | None]] = {}
    for t, head in enumerate(heads, start=1):
        parts[f"trunk {t}"] = [p.grad for p in head.convs.parameters()]
        if head.conv_res is not None:
            parts[f"G {t}"] = [p.grad for p in head.conv_res.parameters()]
        parts[f"logits {t}"] = [p.grad for m in (head.upsample, head.conv_logits) for p in m.parameters()]
    model.zero_grad(set_to_none=True)
    return {
        name: sum(float(g.square().sum()) for g in gradients if g is not None) ** 0.5
        for name, gradients in parts.items()
    }
