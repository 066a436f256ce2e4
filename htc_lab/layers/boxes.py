"""Boxes: overlap, and the deltas a head predicts instead of coordinates (R-CNN's box coding)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from htc_lab.layers.box_coding_config import LARGEST_RATIO
from htc_lab.transfer import send

Four = tuple[float, float, float, float]
_ZERO: Four = (0.0, 0.0, 0.0, 0.0)


def pairwise_iou(a: Float[Tensor, "n 4"], b: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of every box of ``a`` with every box of ``b`` (xyxy px), in 0..1.

    Two boxes without area have IoU 0.
    """
    area_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    area_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    low = torch.maximum(a[:, None, :2], b[None, :, :2])
    high = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=2)
    union = area_a[:, None] + area_b[None, :] - overlap
    return overlap / union.clamp(min=1e-6)


def encode_deltas(
    boxes: Float[Tensor, "n 4"], targets: Float[Tensor, "n 4"], stds: Four, means: Four = _ZERO
) -> Float[Tensor, "n 4"]:
    """The deltas (dx, dy, dw, dh) that move ``boxes`` onto ``targets``, less ``means``, divided by ``stds``.

    dx and dy are in box widths and heights, dw and dh are logarithms of size ratios. A later stage gets
    smaller ``stds``: its boxes are nearly right, and its deltas would otherwise be too small to learn.
    """
    size = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    target_size = targets[:, 2:] - targets[:, :2]
    target_centre = (targets[:, :2] + targets[:, 2:]) / 2
    deltas = torch.cat([(target_centre - centre) / size, torch.log(target_size / size)], dim=1)
    return (deltas - _beside(deltas, means)) / _beside(deltas, stds)


def decode_deltas(
    boxes: Float[Tensor, "n 4"],
    deltas: Float[Tensor, "n 4"],
    stds: Four,
    limits: Float[Tensor, "n 2"] | None,
    means: Four = _ZERO,
    largest_ratio: float = LARGEST_RATIO,
) -> Float[Tensor, "n 4"]:
    """The inverse of :func:`encode_deltas`, clipped to the picture if its size is given.

    Args:
        boxes: xyxy px.
        deltas: what a head predicted for them.
        stds, means: the stage's scale and origin.
        limits: (width, height) in px of the picture each box lies in; None: boxes may reach out of it.
        largest_ratio: a side grows or shrinks by at most this factor.
    """
    deltas = deltas * _beside(deltas, stds) + _beside(deltas, means)
    most = math.log(largest_ratio)
    size = boxes[:, 2:] - boxes[:, :2]
    centre = (boxes[:, :2] + boxes[:, 2:]) * 0.5
    new_centre = centre + size * deltas[:, :2]
    new_size = size * deltas[:, 2:].clamp(-most, most).exp()
    decoded = torch.cat([new_centre - new_size * 0.5, new_centre + new_size * 0.5], dim=1)
    return decoded if limits is None else torch.minimum(decoded.clamp(min=0), limits.repeat(1, 2))


def _beside(deltas: Tensor, numbers: Four) -> Float[Tensor, " 4"]:
    """Four numbers as a tensor of the deltas' type and device."""
    return send(torch.tensor(numbers, dtype=deltas.dtype), deltas.device)
