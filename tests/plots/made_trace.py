"""A trace made from the truth, not by a model: boxes come nearer, masks grow sharper stage by stage."""

import torch
from torch import Tensor
from torchvision.ops import roi_align

from htc_lab.config import HTC, Toggles
from htc_lab.data.classroom.samples import classroom_samples
from htc_lab.data.classroom.scenes import SCENE_THINGS
from htc_lab.data.dataset import Sample
from htc_lab.structures import Proposals, RoIs, Targets
from htc_lab.trace import StageRecord, StageTrace

CLASS_NAMES = SCENE_THINGS


def made_sample(place: int = 3) -> Sample:
    """A classroom scene."""
    return classroom_samples(1, first=place)[0]


def _logits(targets: Targets, boxes: Tensor, sharpness: float) -> Tensor:
    rois = [boxes[i : i + 1] for i in range(len(boxes))]
    masks = targets.masks[:, None].float()
    soft = roi_align(masks, rois, 28, sampling_ratio=2, aligned=True)[:, 0]
    return (soft - 0.5) * sharpness


def made_trace(sample: Sample, toggles: Toggles = HTC, extra: int = 20, seed: int = 0) -> StageTrace:
    """The truth's objects as detections, ``extra`` proposals beside them.

    Args:
        sample: what the trace is of.
        toggles: what the trace says was on; ``interleaved`` decides where the per-stage masks lie.
        extra: proposals that became nothing.
        seed: of the boxes' errors.
    """
    generator = torch.Generator().manual_seed(seed)
    targets = sample.targets
    height, width = sample.image.shape[1:]
    n = len(targets.boxes)
    corners = torch.rand(extra, 2, generator=generator) * torch.tensor([width, height]) * 0.8
    others = torch.cat([corners, corners + 5 + torch.rand(extra, 2, generator=generator) * 30], dim=1)
    error = torch.randn(n, 4, generator=generator) * 0.12
    sides = (targets.boxes[:, 2:] - targets.boxes[:, :2]).repeat(1, 2)
    limit = torch.tensor([width, height, width, height])
    boxes = [
        torch.cat([(targets.boxes + error * sides * share).clamp(min=0).minimum(limit), others])
        for share in (1.0, 0.5, 0.2, 0.05)[: toggles.stages + 1]
    ]
    records = []
    for t in range(toggles.stages):
        logits = torch.zeros(n + extra, len(CLASS_NAMES) + 1)
        logits[torch.arange(n), targets.labels] = 2.0 + 2 * t
        view = boxes[t + 1 if toggles.interleaved else t][:n]
        records.append(
            StageRecord(
                rois=boxes[t],
                class_logits=logits,
                deltas=torch.zeros(n + extra, 4),
                boxes=boxes[t + 1],
                mask_boxes=view,
                mask_logits=_logits(targets, view, 4.0 + 4 * t),
                final_mask_logits=_logits(targets, boxes[-1][:n], 4.0 + 4 * t),
            )
        )
    final = torch.stack([record.final_mask_logits.sigmoid() for record in records]).mean(dim=0)
    rois = RoIs(boxes[0], torch.zeros(n + extra, dtype=torch.int64))
    return StageTrace(
        toggles=toggles,
        sizes=[(height, width)],
        pictures=[(height, width)],
        proposals=Proposals(rois, torch.linspace(1, 0, n + extra)),
        stages=tuple(records),
        detected=torch.arange(n),
        labels=targets.labels,
        scores=torch.linspace(0.95, 0.35, n),
        boxes=boxes[-1][:n],
        mask_probabilities=final,
    )
