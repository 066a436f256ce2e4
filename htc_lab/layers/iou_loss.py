r"""Losses of boxes by their overlap, for heads whose loss looks at the box and not at its deltas.

.. math::
    L_{GIoU} &= 1 - IoU + \frac{|C| - |A \cup B|}{|C|} \\
    L_{DIoU} &= 1 - IoU + \frac{d^2}{c^2} \\
    L_{CIoU} &= L_{DIoU} + \alpha v, \quad
    v = \frac{4}{\pi^2} \left( \arctan \frac{w_B}{h_B} - \arctan \frac{w_A}{h_A} \right)^2

C is the smallest box around both, c its diagonal, d the distance of the two centres. IoU alone says nothing
about boxes that don't overlap; these still pull them together. GIoU: arXiv 1902.09630. DIoU and CIoU: arXiv
1911.08287, whose alpha = v / (1 - IoU + v) carries no gradient and, in the reference, is 0 up to an IoU of
0.5.
"""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

_EPS = 1e-6


def iou_loss(
    boxes: Float[Tensor, "n 4"], targets: Float[Tensor, "n 4"], kind: Literal["giou", "diou", "ciou"]
) -> Float[Tensor, " n"]:
    """The loss of each box, from 0 (on its target) to 2.

    Args:
        boxes: xyxy px, the predicted ones.
        targets: xyxy px, the object of each.
        kind: which of the three.
    """
    size, target_size = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    overlap = (
        torch.minimum(boxes[:, 2:], targets[:, 2:]) - torch.maximum(boxes[:, :2], targets[:, :2])
    ).clamp(min=0)
    shared = overlap.prod(dim=1)
    union = (size.prod(dim=1) + target_size.prod(dim=1) - shared).clamp(min=_EPS)
    iou = shared / union
    around = torch.maximum(boxes[:, 2:], targets[:, 2:]) - torch.minimum(boxes[:, :2], targets[:, :2])
    if kind == "giou":
        hull = around.clamp(min=0).prod(dim=1).clamp(min=_EPS)
        return 1 - iou + (hull - union) / hull
    centres = (boxes[:, :2] + boxes[:, 2:] - targets[:, :2] - targets[:, 2:]) / 2
    apart = centres.square().sum(dim=1) / (around.clamp(min=0).square().sum(dim=1) + _EPS)
    if kind == "diou":
        return 1 - iou + apart
    angle = torch.atan(target_size[:, 0] / (target_size[:, 1] + _EPS)) - torch.atan(
        size[:, 0] / (size[:, 1] + _EPS)
    )
    shape = 4 / math.pi**2 * angle.square()
    with torch.no_grad():
        alpha = (iou > 0.5) * shape / (1 - iou + shape).clamp(min=_EPS)
    return (1 - iou + apart + alpha * shape).clamp(max=2)
