"""RoI pooling: a fixed grid of features for a box of any size (RoIAlign, half-pixel aligned)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from htc_lab.layers.cpu import pooling as cpu_pooling
from htc_lab.light_torchvision import roi_align
from htc_lab.structures import RoIs
from htc_lab.transfer import fetch, send


def pool(
    feature: Float[Tensor, "B C H W"],
    rois: RoIs,
    size: int,
    stride: int,
    sampling_ratio: int = 0,
    average: int = 1,
) -> Float[Tensor, "N C bins bins"]:
    """RoIAlign on one map.

    Args:
        feature: the map.
        rois: boxes in px of the network's input.
        size: cells of the output along each side.
        stride: px per cell of the map.
        sampling_ratio: points per output cell and side; 0: as many as it has map cells, rounded up.
        average: side of the squares of cells that are averaged at the end.
    """
    if cpu_pooling.applies(feature):
        first = torch.zeros(len(rois), dtype=torch.long)
        return cpu_pooling.pool_levels([feature], (stride,), rois, first, size, sampling_ratio, average)
    boxes = torch.cat([rois.image[:, None].to(rois.boxes), rois.boxes], dim=1)
    out: Tensor = roi_align(
        feature, boxes.to(feature.dtype), (size, size), 1.0 / stride, sampling_ratio, aligned=True
    )
    return out if average == 1 else F.avg_pool2d(out, average)


def level_of(boxes: Float[Tensor, "N 4"], levels: int, finest_scale: int) -> Int[Tensor, " N"]:
    """The pyramid level a box is pooled from: 0 below twice ``finest_scale`` px, one more each octave."""
    scale = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).clamp(min=0).sqrt()
    return torch.floor(torch.log2(scale / finest_scale + 1e-6)).clamp(0, levels - 1).long()


def pool_pyramid(
    levels: list[Tensor],
    strides: tuple[int, ...],
    rois: RoIs,
    size: int,
    finest_scale: int,
    sampling_ratio: int = 0,
) -> Float[Tensor, "N C size size"]:
    """RoIAlign on the pyramid, each RoI from the level that suits its size.

    ``levels`` and ``strides`` are the pooled levels, finest first; other arguments as for :func:`pool`.
    """
    which = fetch(level_of(rois.boxes, len(levels), finest_scale))
    if cpu_pooling.applies(levels[0]):
        return cpu_pooling.pool_levels(levels, strides, rois, which, size, sampling_ratio)
    places = [torch.nonzero(which == i).squeeze(1) for i in range(len(levels))]
    order = send(torch.cat(places), rois.boxes.device)
    pooled = [
        pool(feature, rois.select(place), size, stride, sampling_ratio)
        for feature, stride, place in zip(levels, strides, order.split([len(p) for p in places]), strict=True)
    ]
    return torch.cat(pooled)[order.argsort()]
