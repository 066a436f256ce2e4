"""Deltas that the classes share or that each class has of its own: what they say, and their loss."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.boxes import decode_deltas, encode_deltas
from htc_lab.layers.cascade_config import CascadeConfig, StageConfig
from htc_lab.layers.iou_loss import iou_loss
from htc_lab.structures import RoIs


def moved_as_each_class(
    rois: RoIs, deltas: Float[Tensor, "N *K 4"], stage: StageConfig, sizes: list[tuple[int, int]]
) -> Float[Tensor, "N K 4"] | None:
    """The boxes, xyxy px, moved by the deltas of each class and clipped to their image.

    None where the classes share their deltas.

    Args:
        rois: the boxes.
        deltas: in units of the stage's stds.
        stage: its stds, means and largest ratio.
        sizes: (height, width) px of each image.
    """
    if deltas.ndim == 2:
        return None
    classes = deltas.shape[1]
    each = rois.select(torch.arange(len(rois), device=deltas.device).repeat_interleave(classes))
    moved = decode_deltas(
        each.boxes, deltas.flatten(0, 1), stage.stds, each.limits(sizes), stage.means, stage.largest_ratio
    )
    return moved.unflatten(0, (len(rois), classes))


def deltas_of_class(
    deltas: Float[Tensor, "N *K 4"],
    class_logits: Float[Tensor, "N classes"],
    labels: Int[Tensor, " N"] | None = None,
) -> Float[Tensor, "N 4"]:
    """The deltas of each RoI as an object of its class.

    Args:
        deltas: as they are where the classes share them.
        class_logits: background last.
        labels: the class of each; where it is K, and without them everywhere, it is the likeliest one.
    """
    if deltas.ndim == 2:
        return deltas
    likeliest = class_logits[:, :-1].argmax(dim=1)
    if labels is not None:
        likeliest = torch.where(labels < deltas.shape[1], labels, likeliest)
    return deltas[torch.arange(len(likeliest), device=likeliest.device), likeliest]


def regression_loss(
    boxes: Float[Tensor, "p 4"],
    deltas: Float[Tensor, "p 4"],
    truth: Float[Tensor, "p 4"],
    stage: StageConfig,
    config: CascadeConfig,
) -> Tensor:
    """L_reg of eq. 7, summed: smooth L1 of the deltas, or the ``config.box_loss`` of the boxes they make.

    Args:
        boxes, deltas: positives, and what is predicted for them.
        truth: the object of each.
        stage, config: stds and the like, and the kind of the loss.
    """
    if config.box_loss == "smooth_l1":
        wanted = encode_deltas(boxes, truth, stage.stds, stage.means)
        return F.smooth_l1_loss(deltas, wanted, reduction="sum", beta=config.smooth_l1_beta)
    found = decode_deltas(boxes, deltas, stage.stds, None, stage.means, stage.largest_ratio)
    return iou_loss(found, truth, config.box_loss).sum()
