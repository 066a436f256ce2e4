r"""What guided anchoring learns from: where objects have their centres, and which shape anchors should have.

An object belongs to the level whose square is nearest to it in size. On that level the middle of its box is
where an anchor should be; a ring around it is not judged, nor is the middle on the levels beside. Its shape
is learned by the cells where some usual anchor would be matched to it, by the bounded IoU loss

.. math::
    L = \sum_{i \in x, y, w, h} smooth_{L1}(1 - b_i), \quad
    b_x = \frac{w_t - 2 |\Delta x|}{w_t + 2 |\Delta x|}, \quad
    b_w = \min\left(\frac{w}{w_t}, \frac{w_t}{w}\right)

b is the largest IoU that a box can have with its object if it is off in one coordinate alone. (Guided
anchoring: arXiv 1901.03278; bounded IoU: arXiv 1711.00164.)
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from htc_lab.layers.boxes import pairwise_iou
from htc_lab.layers.guided_config import GuidedConfig
from htc_lab.layers.matching import IGNORED, match_overlaps
from htc_lab.layers.rpn_config import RPNConfig

_EPS = 1e-3


@dataclass(frozen=True)
class LocationTargets:
    """Of one level.

    Attributes:
        centre: (B, h, w) float32: 1 in the middle of an object, else 0.
        weight: (B, h, w) float32: what a cell counts; 0 where it is not judged.
    """

    centre: Float[Tensor, "B h w"]
    weight: Float[Tensor, "B h w"]


def location_targets(
    boxes: list[Tensor],
    sizes: list[tuple[int, int]],
    strides: tuple[int, ...],
    anchor_scale: float,
    config: GuidedConfig,
) -> list[LocationTargets]:
    """Where anchors should be, level by level. All on the CPU.

    Args:
        boxes: (n, 4) xyxy px, on the CPU: the objects of each image.
        sizes: (h, w) of each level's map.
        strides: of the levels, px.
        anchor_scale: side of a level's square, in strides.
        config: how much of a box is its centre, and how much is not judged.
    """
    levels = len(sizes)
    centre = [torch.zeros(len(boxes), *size) for size in sizes]
    weight = [torch.full_like(each, config.background_weight) for each in centre]
    judged = [torch.zeros_like(each, dtype=torch.bool) for each in centre]
    beside = [torch.zeros_like(each, dtype=torch.bool) for each in centre]
    for image, objects in enumerate(boxes):
        scale = ((objects[:, 2] - objects[:, 0]) * (objects[:, 3] - objects[:, 1])).sqrt()
        # By octaves above the finest square.
        octave = torch.log2(scale) - math.log2(anchor_scale * strides[0])
        own = torch.floor(octave + 0.5).clamp(0, levels - 1).long().tolist()
        for box, level in zip(objects, own, strict=True):
            ring = _middle(box / strides[level], config.ignored_ratio, sizes[level])
            middle = _middle(box / strides[level], config.centre_ratio, sizes[level])
            # Later objects lie on earlier ones.
            for place, value in ((ring, 0.0), (middle, 1.0)):
                weight[level][image][place] = value
                judged[level][image][place] = True
            centre[level][image][middle] = 1.0
            for near in {level - 1, level + 1} & set(range(levels)):
                beside[near][image][_middle(box / strides[near], config.ignored_ratio, sizes[near])] = True
    for each, seen, ignored in zip(weight, judged, beside, strict=True):
        each[ignored & ~seen] = 0.0
    return [LocationTargets(*of) for of in zip(centre, weight, strict=True)]


def _middle(box: Float[Tensor, " 4"], ratio: float, size: tuple[int, int]) -> tuple[slice, slice]:
    """The rows and columns of a box (in cells) with its sides times ``ratio``, the last ones included."""
    r = (1 - ratio) / 2
    low, high = (1 - r) * box[:2] + r * box[2:], r * box[:2] + (1 - r) * box[2:]
    limit = torch.tensor([size[1], size[0]])
    (x1, y1), (x2, y2) = (
        torch.minimum(each.round().long().clamp(min=0), limit).tolist() for each in (low, high)
    )
    return slice(y1, y2 + 1), slice(x1, x2 + 1)


def match_cells(
    usual: Float[Tensor, "n k 4"],
    objects: Float[Tensor, "g 4"],
    config: RPNConfig,
    inside: Bool[Tensor, " n"],
) -> Int[Tensor, " n"]:
    """Which object each cell's anchor should take the shape of.

    Args:
        usual: xyxy px, the k usual anchors of each cell.
        objects: xyxy px.
        config: the thresholds; they are those of anchors.
        inside: the cells that may be trained; the others are ignored.

    Returns:
        The object, or BACKGROUND, or IGNORED, as ``match`` has them.
    """
    overlaps = torch.stack([pairwise_iou(one, objects) for one in usual.unbind(dim=1)])
    best = overlaps.amax(dim=0) if len(objects) else overlaps[0]
    low = config.low_quality_iou if config.low_quality_matches else None
    matches = match_overlaps(best, config.positive_iou, config.negative_iou, low, inside[:, None])
    return torch.where(inside, matches.index, IGNORED)


def bounded_iou_loss(
    boxes: Float[Tensor, "n 4"], targets: Float[Tensor, "n 4"], beta: float
) -> Float[Tensor, " n"]:
    """The loss of each box; only its width and height get a gradient, its centre is taken as given.

    Args:
        boxes: xyxy px, the anchors.
        targets: xyxy px, the object of each.
        beta: shortfall from which on a term is linear.
    """
    size, target_size = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    off = ((targets[:, :2] + targets[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2).detach().abs()
    place = ((target_size - 2 * off) / (target_size + 2 * off + _EPS)).clamp(min=0)
    shape = torch.minimum(size / (target_size + _EPS), target_size / (size + _EPS))
    short = 1 - torch.cat([place, shape], dim=1)
    return F.smooth_l1_loss(short, torch.zeros_like(short), reduction="none", beta=beta).sum(dim=1)
