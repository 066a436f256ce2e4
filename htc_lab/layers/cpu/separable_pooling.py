"""RoIAlign as two matrix products, for small maps on a CPU.

RoIAlign averages bilinear samples on a grid that is parallel to the axes. Bilinear interpolation is a product
of one weight in y and one in x, so the whole operation is: rows, then columns,

    out[n, c] = W_y[n] @ feature[c] @ W_x[n]^T,

where W_y[n] (size x H) holds the weight of each row of the map in each row of the output. On a small map
these products cost less than gathering the samples one by one, above all backwards: there torchvision's CPU
kernel scatters, whereas the gradient of a matrix product is one again.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from htc_lab.structures import RoIs


def sample_points(
    low: Float[Tensor, " n"],
    high: Float[Tensor, " n"],
    size: int,
    cells: int | Int[Tensor, " n"],
    sampling_ratio: int,
) -> tuple[Float[Tensor, "n size samples"], Bool[Tensor, "n size samples"], Float[Tensor, " n"]]:
    """Where RoIAlign samples along one axis.

    Args:
        low, high: the interval's ends, in cells of the map (cell i is centred at i).
        size: bins of the output.
        cells: length of the map along this axis, one for all or one for each.
        sampling_ratio: samples a bin; 0: as many as the bin is cells long, rounded up.

    Returns:
        the points, 0..cells - 1; which of them count; the number of samples in a bin of each interval,
        including those that don't count.
    """
    length = (high - low) / size
    count = torch.full_like(low, sampling_ratio) if sampling_ratio else length.ceil().clamp(min=0)
    most = max(int(count.max()), 1) if len(count) else 1
    step = torch.arange(most, device=low.device, dtype=low.dtype)
    used = step < count[:, None]
    count = count.clamp(min=1)
    within = (step + 0.5) / count[:, None]
    bins = torch.arange(size, device=low.device, dtype=low.dtype)
    at = low[:, None, None] + (bins[:, None] + within[:, None, :]) * length[:, None, None]
    # A sample may lie up to one cell outside the map and then takes the border's value; further out it is 0.
    end = torch.as_tensor(cells, device=low.device, dtype=low.dtype).reshape(-1, 1, 1)
    used = used[:, None, :] & (at >= -1) & (at <= end)
    return at.clamp(min=0).minimum(end - 1), used, count


def axis_weights(
    low: Float[Tensor, " n"],
    high: Float[Tensor, " n"],
    size: int,
    cells: Int[Tensor, " n"],
    longest: int,
    sampling_ratio: int,
) -> Float[Tensor, "n size longest"]:
    """W of each interval; ``longest`` of ``cells``, other arguments as for ``sample_points``."""
    at, used, count = sample_points(low, high, size, cells, sampling_ratio)
    # A sample lies between two cells, and the nearer one has the greater weight.
    below = at.floor()
    share = used / count[:, None, None]
    upper = (at - below) * share
    cell = below.long()
    weights = at.new_zeros(len(low), size, longest).scatter_add_(2, cell, share - upper)
    return weights.scatter_add_(2, (cell + 1).clamp(max=longest - 1), upper)


def pool_levels_separably(
    levels: list[Tensor],
    strides: tuple[int, ...],
    rois: RoIs,
    which: Int[Tensor, " N"],
    size: int,
    sampling_ratio: int,
    average: int = 1,
) -> Float[Tensor, "N C bins bins"]:
    """As ``roi_align(..., aligned=True)``, up to rounding; RoI n from ``levels[which[n]]``.

    Args:
        levels: (B, C, H/stride, W/stride) maps.
        strides: px per cell of each.
        rois: boxes in px of the network's input.
        which: the map of each RoI.
        size, sampling_ratio, average: as for ``roi_pooling.pool``.
    """
    sides = [(level.shape[3], level.shape[2]) for level in levels]
    longest = max(max(side) for side in sides)
    scale, cells = torch.tensor(strides)[which], torch.tensor(sides)[which]
    edges = (rois.boxes / scale[:, None] - 0.5).view(-1, 2, 2)
    # x and y of all RoIs of all levels at once: the calls cost more than what they compute.
    low, high = edges[:, 0].flatten(), edges[:, 1].flatten()
    weights = axis_weights(low, high, size, cells.flatten(), longest, sampling_ratio)
    # Averaging bins afterwards is linear too: it is done to the weights, before they meet the map.
    bins = size // average
    weights = weights.view(len(edges), 2, bins, average, longest)
    weights = weights.mean(dim=3) if average > 1 else weights.squeeze(3)
    # A map is one level of one image. One product each: all its RoIs share it, so their W_y stack to one tall
    # matrix.
    maps = [one for level in levels for one in level.permute(0, 2, 3, 1).unbind()]
    map_of = which * len(levels[0]) + rois.image
    # The RoIs of one level are already in the order of its maps.
    order = map_of.argsort() if len(levels) > 1 else None
    parts = weights if order is None else weights[order]
    pooled: list[Tensor] = []
    counts = torch.bincount(map_of, minlength=len(maps)).tolist()
    for one, part in zip(maps, parts.split(counts), strict=True):
        height, width, channels = one.shape
        n, columns, rows = len(part), part[:, 0, :, :width], part[:, 1, :, :height]
        squeezed = rows.reshape(n * bins, height) @ one.reshape(height, width * channels)
        pooled.append(columns[:, None] @ squeezed.view(n, bins, width, channels))
    found = torch.cat(pooled)
    return (found if order is None else found[order.argsort()]).permute(0, 3, 1, 2)
